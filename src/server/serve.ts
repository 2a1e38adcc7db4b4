import { randomUUID } from 'node:crypto';
import { FolderRepository } from '../pool/folder-repository.js';
import { openPool, temporaryFolderOf, type Pool } from '../pool/open-pool.js';
import type { StorageRepository } from '../pool/storage.js';
import type { ToolEnvironment } from '../tools/find.js';
import type { PreparedServer } from './first-start.js';
import type { ServerLog } from './log.js';
import { callRoutes } from './call-routes.js';
import { agreeWithSlave } from './hosts/agree-with-slave.js';
import { Members } from './hosts/members.js';
import { HEARTBEAT_MILLISECONDS } from './hosts/member.js';
import { parseFingerprint } from '../xenapi/trust.js';
import { poolRoutes } from './pool-routes.js';
import type { PoolLinkOptions } from './real-pool/pool-link.js';
import { openRealStorage } from './real-pool/real-storage.js';
import { PoolWatch } from './real-pool/watch-pool.js';
import { startServer } from './server.js';
import { Sessions } from './sessions.js';
import { XenApi, type CallRecord } from './xen-api.js';

export interface ServeOptions {
  /** As `prepareServer` gave it, its password shown. */
  readonly prepared: PreparedServer;
  readonly environment: Pick<ToolEnvironment, 'searchPath'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly productVersion: string;
  readonly log: ServerLog;
  /** Between two looks at a slave; default 5000. */
  readonly heartbeatMilliseconds?: number | undefined;
  /** A pool of XenServer or XCP-ng whose SRs are used instead of folders. */
  readonly realPool?: RealPoolOptions | undefined;
}

export interface RealPoolOptions extends PoolLinkOptions {
  /** Between two looks at it; default 15 seconds. */
  readonly beatMilliseconds?: number | undefined;
}

/** A pool that can be reached. */
export interface ServedPool {
  readonly pool: Pool;
  /** The other hosts; undefined without TLS, over which hosts talk. */
  readonly members: Members | undefined;
  /** `https://localhost:8443` */
  readonly url: string;
  /** Stops what is under way, cleans up after it, and gives up the state. */
  close(): Promise<void>;
}

function urlOf({ tls, config }: PreparedServer, port: number): string {
  const { address } = config.listen;
  const isLocal = address === '127.0.0.1' || address === '::1' || address === 'localhost';
  const name = isLocal ? 'localhost' : config.host.address;
  const host = name.includes(':') ? `[${name}]` : name;
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`;
}

/** What is opened before the pool, and closed after it. */
async function openStorage({ prepared, productVersion: version, now, realPool }: ServeOptions) {
  if (realPool === undefined) {
    const repositories = prepared.repositories.map((one) => FolderRepository.open(one));
    return { repositories, defaultSr: prepared.defaultSrUuid, link: undefined };
  }
  const storage = await openRealStorage(realPool);
  const { defaultSr, link } = storage;
  const spoolFolder = temporaryFolderOf(prepared.stateFolder);
  const repositories = (owner: string): readonly StorageRepository[] =>
    storage.repositories({ owner, version, spoolFolder, now });
  return { repositories, defaultSr, link };
}

/**
 * Opens the pool of a state folder and listens.
 *
 * @throws PatchVdiError `usage` when another process has the state, or the address; what `openPool` throws; with a real
 *   pool what `openRealStorage` throws
 */
export async function serve(options: ServeOptions): Promise<ServedPool> {
  const storage = await openStorage(options);
  try {
    const served = await serveStorage(options, storage);
    const close = async (): Promise<void> => {
      await served.close();
      await storage.link?.close();
    };
    return { ...served, close };
  } catch (error) {
    await storage.link?.close();
    throw error;
  }
}

async function serveStorage(
  options: ServeOptions,
  { repositories, defaultSr, link }: Awaited<ReturnType<typeof openStorage>>,
): Promise<ServedPool> {
  const { prepared, environment, now, productVersion, log } = options;
  const { config, tls, users, poolSecret } = prepared;
  const pool = await openPool({
    stateFolder: prepared.stateFolder,
    repositories,
    defaultSr,
    policy: prepared.policy,
    environment,
    hostName: config.host.nameLabel,
    address: config.host.address,
    now,
    newUuid: randomUUID,
    onWarning: (text) => log.warn(text),
    onDeprecated: (call, advice) => log.deprecated(call, advice),
  });
  let watch: PoolWatch | undefined;
  let members: Members | undefined;
  try {
    log.recovered(pool.report);
    const { beatMilliseconds } = options.realPool ?? {};
    if (link !== undefined) watch = new PoolWatch({ pool, log, beatMilliseconds });
    if (tls !== undefined && poolSecret !== undefined) {
      members = new Members({
        pool,
        secret: poolSecret,
        certificate: parseFingerprint(tls.fingerprint),
        heartbeatMilliseconds: options.heartbeatMilliseconds ?? HEARTBEAT_MILLISECONDS,
        now,
        newUuid: randomUUID,
        onAttached: (host, link) => agreeWithSlave({ pool, log }, host, link),
        onDetached: (host) => pool.hosts.remove(host),
        log,
      });
    }
    const sessions = new Sessions({ now });
    const { authenticate } = users;
    const onCall = (call: CallRecord): void => log.call(call);
    const api = new XenApi({ pool, sessions, authenticate, now, productVersion, members, onCall });
    const server = await startServer({
      routes: [...poolRoutes(pool, api.taskOwners), ...callRoutes(api), ...(members?.routes() ?? [])],
      listen: config.listen,
      tls,
      limits: config.limits,
      sessions,
      authenticate,
      onRequest: (facts) => log.request(facts),
    });
    const hosts = members;
    const close = async (): Promise<void> => {
      await Promise.all([server.close(), api.close()]);
      await hosts?.close();
      await watch?.close();
      await pool.close();
    };
    return { pool, members, url: urlOf(prepared, server.port), close };
  } catch (error) {
    await members?.close();
    await watch?.close();
    await pool.close();
    throw error;
  }
}
