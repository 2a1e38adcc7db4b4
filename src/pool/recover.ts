import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { adoptPatchFiles } from './adopt-files.js';
import type { Applies } from './apply-patch.js';
import { isPatchVdiError } from '../errors.js';
import type { Database } from './database.js';
import type { Ref } from './fields.js';
import type { Patches } from './patches.js';
import { isPoolError } from './pool-error.js';
import type { TornEnd } from './read-journal.js';
import type { ReceiveTools } from './receive-patch.js';
import type { Repositories } from './repositories.js';
import type { StorageRepository } from './storage.js';
import type { Tasks } from './tasks.js';
import type { Vdis } from './vdis.js';

/** What a start found of the process before it, and did about it. Lists of UUIDs unless said otherwise. */
export interface RecoveryReport {
  /** The end of a change that was never acknowledged, cut off. */
  readonly torn: TornEnd | undefined;
  /** VDIs that were being made or destroyed: disk and record removed. */
  readonly unfinishedVdis: readonly string[];
  /** VDIs whose disk is gone though their SR is there: record removed. */
  readonly lostVdis: readonly string[];
  /** Names of temporary files, removed. */
  readonly remains: readonly string[];
  /** Patches with neither file nor VDI: record removed. */
  readonly patches: readonly string[];
  /** Tasks that were under way, failed now. */
  readonly tasks: readonly string[];
  /** Disks without a record, left alone: none of them is ours (our records come before the disk and go after it). */
  readonly unknownDisks: readonly string[];
  /** Patches that were found as files without a record, which they have now. */
  readonly adoptedFiles: readonly string[];
  /** Files in the patch folder that are no patches of this pool, left alone: `name: why`. */
  readonly refusedFiles: readonly string[];
  /** Applies that were killed: `UUID, begun at …`. The patch may have run in part; it must be told to run again. */
  readonly unfinishedApplies: readonly string[];
  /** Patches whose `host_patch` of this host was made, changed or removed, by what its applied folder says. */
  readonly hostPatches: readonly string[];
  /** What should have been removed and could not be (`VDI UUID: reason`): the next start tries again. */
  readonly failures: readonly string[];
  /** SRs that are out of reach; nothing was concluded from what is missing in them. */
  readonly unreachableSrs: readonly string[];
}

export interface RecoverOptions {
  readonly database: Database;
  readonly repositories: Repositories;
  readonly vdis: Vdis;
  readonly patches: Patches;
  readonly tasks: Tasks;
  readonly applies: Applies;
  /** This host. */
  readonly host: Ref;
  readonly patchFolder: string;
  readonly receive: ReceiveTools;
  readonly temporaryFolder: string;
  readonly torn: TornEnd | undefined;
}

/** The same of one storage repository. */
export interface RepositoryReport {
  readonly unfinishedVdis: string[];
  readonly lostVdis: string[];
  readonly remains: string[];
  readonly unknownDisks: string[];
  readonly failures: string[];
}

function nothingFound(): RepositoryReport {
  return { unfinishedVdis: [], lostVdis: [], remains: [], unknownDisks: [], failures: [] };
}

/** A repository that was mounted read-only, or is dying, must not keep the pool from being served. */
async function orNote(found: RepositoryReport, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const details = isPatchVdiError(error) ? `; ${error.context.found}` : '';
    found.failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}${details}`);
  }
}

async function recoverRepository(
  repository: StorageRepository,
  { database, vdis }: Pick<RecoverOptions, 'database' | 'vdis'>,
  found: RepositoryReport,
): Promise<void> {
  const sr = database.findByUuid('SR', repository.facts.uuid);
  const all = database.all('VDI').filter(([, { SR }]) => SR === sr);
  // At a start nothing is under way yet: whatever is unfinished is dead.
  const records = all.filter(([ref]) => !vdis.isUnderWay(ref));
  await orNote(found, `remains in SR ${repository.facts.uuid}`, async () => {
    const uuids = new Set(records.map(([, { uuid }]) => uuid));
    found.remains.push(...(await repository.removeRemains(uuids)));
  });
  const disks = new Set(await repository.listVdis());
  for (const [ref, { uuid, state }] of records) {
    // Somebody may have begun with it since, or have come to an end: what is true no more decides nothing.
    if (vdis.isUnderWay(ref) || database.find('VDI', ref)?.state !== state) continue;
    if (state === 'ready' && (disks.has(uuid) || (await isThere(repository, uuid)))) continue;
    await orNote(found, `VDI ${uuid}`, async () => {
      await vdis.remove(ref);
      (state === 'ready' ? found.lostVdis : found.unfinishedVdis).push(uuid);
    });
  }
  const known = new Set(all.map(([, { uuid }]) => uuid));
  const unknown = [...disks].filter((uuid) => !known.has(uuid));
  if (unknown.length === 0) return;
  // Where a server chooses UUIDs, a disk that was just removed had another one than its record.
  const left = new Set(await repository.listVdis());
  found.unknownDisks.push(...unknown.filter((uuid) => left.has(uuid)));
}

/** Asked again before a record goes for good: a list of a folder is of no certain moment. */
async function isThere(repository: StorageRepository, uuid: string): Promise<boolean> {
  try {
    await repository.vdiFacts(uuid);
    return true;
  } catch (error) {
    if (isPoolError(error) && error.code === 'VDI_MISSING') return false;
    throw error;
  }
}

/**
 * The same for one storage repository that is there again, while others work: what is under way is left alone. (A disk
 * whose record is newer than this look counts as unknown.)
 */
export async function recoverAttached(
  repository: StorageRepository,
  { database, vdis }: Pick<RecoverOptions, 'database' | 'vdis'>,
): Promise<RepositoryReport> {
  const found = nothingFound();
  await recoverRepository(repository, { database, vdis }, found);
  return found;
}

/** Puts everything in order that a process left which was killed at any moment. Before the first call is served. */
export async function recover(options: RecoverOptions): Promise<RecoveryReport> {
  const { repositories, patches, tasks, applies, host, temporaryFolder, torn } = options;
  for (const name of await readdir(temporaryFolder)) {
    await rm(join(temporaryFolder, name), { recursive: true, force: true });
  }
  const found = nothingFound();
  const unreachableSrs: string[] = [];
  for (const repository of repositories.all) {
    const { uuid } = repository.facts;
    if (await repository.isReachable()) {
      await orNote(found, `SR ${uuid}`, () => recoverRepository(repository, options, found));
    } else unreachableSrs.push(uuid);
  }
  const { unfinished, changed: hostPatches } = await applies.agree(host);
  const collected = await patches.collect();
  const { adopted: adoptedFiles, refused: refusedFiles } = await adoptPatchFiles(options);
  return {
    torn,
    ...found,
    patches: collected,
    adoptedFiles,
    refusedFiles,
    unfinishedApplies: unfinished.map(({ uuid, beganAt }) => `${uuid}, begun at ${beganAt}`),
    hostPatches,
    tasks: await tasks.endAll(),
    unreachableSrs,
  };
}
