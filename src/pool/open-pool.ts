import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeFailure } from '../io/system-errors.js';
import type { HostLimits } from '../host/limits.js';
import type { ToolEnvironment } from '../tools/find.js';
import { ApplyLocks } from './apply-locks.js';
import { Applies } from './apply-patch.js';
import { Database } from './database.js';
import { NULL_REF, type Ref } from './fields.js';
import { HostSides } from './host-side.js';
import { parseInfoDocument, type ParseInfo } from './info-document.js';
import { LocalHostSide } from './local-host-side.js';
import { INFO_LIMITS, type InfoLimits } from './patch-info.js';
import type { DeprecatedCall } from './patch-rules.js';
import { Patches } from './patches.js';
import type { PatchPolicy } from './receive-patch.js';
import { recover, type RecoveryReport } from './recover.js';
import { Repositories } from './repositories.js';
import { lockState } from './state-lock.js';
import type { StorageRepository } from './storage.js';
import { Tasks } from './tasks.js';
import { Vdis } from './vdis.js';

export interface PoolOptions {
  /** Made when it is not there (0700). Nobody else may use it. */
  readonly stateFolder: string;
  /** This host's, in the order of its PBDs; or what makes them, for ones that write down whose their disks are. */
  readonly repositories: readonly StorageRepository[] | ((poolUuid: string) => readonly StorageRepository[]);
  /** UUID of the SR that becomes `pool.default_SR`; undefined: as it was. */
  readonly defaultSr?: string | undefined;
  readonly policy: PatchPolicy;
  /** Where programs are; temporary files lie in the state folder, so that the next start can remove them. */
  readonly environment: Pick<ToolEnvironment, 'searchPath'>;
  readonly hostName: string;
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly newUuid: () => string;
  readonly parseInfo?: ParseInfo | undefined;
  readonly infoLimits?: InfoLimits | undefined;
  /** What was applied to this host is kept there; default: `applied` in the state folder. */
  readonly appliedFolder?: string | undefined;
  /** How long patches may take on this host. */
  readonly hostLimits?: Partial<HostLimits> | undefined;
  /** Whether this host can apply patches; default: whether this process is root's. */
  readonly isRoot?: boolean | undefined;
  /** What could not be cleaned up, for people. */
  readonly onWarning?: ((text: string) => void) | undefined;
  readonly onDeprecated?: ((call: DeprecatedCall, advice: string) => void) | undefined;
  /** What the journal may grow by beyond its state; default 1 MiB. */
  readonly journalSlackBytes?: number | undefined;
}

/** The pool side, ready to be called. */
export interface Pool {
  readonly database: Database;
  readonly tasks: Tasks;
  readonly vdis: Vdis;
  readonly patches: Patches;
  readonly repositories: Repositories;
  readonly applies: Applies;
  readonly locks: ApplyLocks;
  /** The hosts that patches can be applied to; this one is among them. */
  readonly hosts: HostSides;
  readonly pool: Ref;
  readonly host: Ref;
  /** Absolute; this host's patches of the time before VDIs. */
  readonly patchFolder: string;
  /** Absolute; emptied at every start. */
  readonly temporaryFolder: string;
  readonly report: RecoveryReport;
  /** When no call is under way. */
  close(): Promise<void>;
}

interface Folders {
  readonly state: string;
  readonly temporary: string;
  readonly patches: string;
}

/** Absolute; emptied at every start. */
export function temporaryFolderOf(stateFolder: string): string {
  return join(resolve(stateFolder), 'tmp');
}

async function makeFolders(stateFolder: string): Promise<Folders> {
  const state = resolve(stateFolder);
  const folders = { state, temporary: temporaryFolderOf(state), patches: join(state, 'patches') };
  try {
    for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw writeFailure(state, 0, cause);
  }
  return folders;
}

/** The records that every pool has: one pool, and this host, which is its master. */
async function firstRecords(database: Database, options: PoolOptions): Promise<{ pool: Ref; host: Ref }> {
  const { hostName, address, newUuid } = options;
  return await database.change((draft) => {
    const [known] = draft.all('pool');
    // Others are slaves.
    let host = known?.[1].master ?? draft.all('host')[0]?.[0];
    const facts = { name_label: hostName, hostname: hostName, address };
    if (host === undefined) host = draft.create('host', { uuid: newUuid(), ...facts });
    else draft.update('host', host, facts);
    const pool = known?.[0] ?? draft.create('pool', { uuid: newUuid(), master: host });
    return { pool, host };
  });
}

async function setDefaultSr(database: Database, pool: Ref, uuid: string | undefined): Promise<void> {
  if (uuid === undefined) return;
  await database.change((draft) => {
    const sr = draft.all('SR').find(([, record]) => record.uuid === uuid)?.[0] ?? NULL_REF;
    draft.update('pool', pool, { default_SR: sr });
  });
}

/**
 * Opens the state of a pool, or makes one, and puts in order what a dead process left.
 *
 * @throws PatchVdiError `usage` when another process has it, `image` when the state is damaged, `space` | `sink`
 */
export async function openPool(options: PoolOptions): Promise<Pool> {
  const { newUuid, now, environment, policy, journalSlackBytes: slackBytes } = options;
  const folders = await makeFolders(options.stateFolder);
  const lock = await lockState(folders.state);
  let database: Database | undefined;
  try {
    const slack = slackBytes === undefined ? {} : { slackBytes };
    const opened = await Database.open({ folder: folders.state, newUuid, ...slack });
    ({ database } = opened);
    const { pool, host } = await firstRecords(database, options);
    const { repositories: given } = options;
    const local = typeof given === 'function' ? given(database.get('pool', pool).uuid) : given;
    const repositories = new Repositories(database, host, local);
    await repositories.synchronise(newUuid);
    await setDefaultSr(database, pool, options.defaultSr);
    const tasks = new Tasks({ database, now, newUuid, host, stateFolder: folders.state });
    const vdis = new Vdis({ database, repositories, tasks, newUuid });
    const receive = {
      policy,
      environment: { ...environment, temporaryFolder: folders.temporary },
      parseInfo: options.parseInfo ?? parseInfoDocument,
      infoLimits: options.infoLimits ?? INFO_LIMITS,
    };
    const { patches: patchFolder, temporary: temporaryFolder } = folders;
    const { onDeprecated } = options;
    const [locks, hosts] = [new ApplyLocks(), new HostSides()];
    const services = { database, repositories, vdis, tasks, hosts, locks };
    const patches = new Patches({ ...services, receive, patchFolder, host, onDeprecated });
    const applies = new Applies({ ...services, now, newUuid });
    hosts.add(
      new LocalHostSide({
        host,
        repositories: local,
        policy,
        environment: receive.environment,
        appliedFolder: resolve(options.appliedFolder ?? join(folders.state, 'applied')),
        parseInfo: receive.parseInfo,
        download: (uuid, signal) => patches.download(uuid, signal),
        limits: options.hostLimits,
        isRoot: options.isRoot,
        onWarning: options.onWarning,
      }),
    );
    const finding = { host, patchFolder, receive, temporaryFolder, torn: opened.torn };
    const report = await recover({ ...services, ...finding, patches, applies });
    const state = database;
    const close = async (): Promise<void> => {
      await state.close();
      await lock.release();
    };
    return { ...services, patches, applies, pool, host, patchFolder, temporaryFolder, report, close };
  } catch (error) {
    await database?.close();
    await lock.release();
    throw error;
  }
}
