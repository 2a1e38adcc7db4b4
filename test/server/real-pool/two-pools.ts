/*
 * `serve --pool` of our own `serve`: the inner one is the real pool, with folders that can be looked into; the outer
 * one has the inner one's SRs. Both over TLS, in this process.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { RecordOf } from '../../../src/pool/classes.js';
import type { XenConnection } from '../../../src/xenapi/connection.js';
import { connectPool } from '../../../src/xenapi/connect.js';
import { openLog } from '../../../src/server/log.js';
import { prepareServer } from '../../../src/server/first-start.js';
import { parseServeConfig } from '../../../src/server/serve-config.js';
import { serve, type RealPoolOptions, type ServedPool } from '../../../src/server/serve.js';
import { DEFAULT_SEARCH_PATH } from '../../../src/tools/find.js';
import { temporaryFolder } from '../../oracles/temporary-folder.js';
import { poolPlace, type SamplePatch } from '../../pool/test-pool.js';
import { TIMEOUTS } from '../../xenapi/pools.js';
import { runTool, type ToolEnd } from '../run-tool.js';
import { cheapHash } from '../scrypt-judge.js';

export const PASSWORD = 'right-horse-"battery';
export const LOGIN = { user: 'admin', password: PASSWORD };
export const SRS = {
  fast: '33333333-3333-4333-8333-333333333333',
  slow: '44444444-4444-4444-8444-444444444444',
} as const;

/** A server of this process. It can be stopped, and started again on its state, at the same port. */
export interface Running {
  readonly folder: string;
  readonly state: string;
  readonly url: string;
  readonly certificate: string;
  readonly served: ServedPool;
  readonly log: string[];
  start(): Promise<void>;
  stop(): Promise<void>;
  connect(signal?: AbortSignal): Promise<XenConnection>;
}

async function run(
  folder: string,
  config: string,
  realPool: ((fingerprint?: string) => RealPoolOptions) | undefined,
): Promise<Running> {
  const state = join(folder, 'state');
  const log: string[] = [];
  let served: ServedPool | undefined;
  let fingerprint = '';
  let port = 0;
  const start = async (): Promise<void> => {
    const text = `listen: {address: 127.0.0.1, port: ${port}}\n${config}`;
    const prepared = await prepareServer({
      stateFolder: state,
      config: parseServeConfig(text, { fileName: 'pool.yaml', folder }),
      hostName: 'host-one',
      now: Date.now,
      hasRealPool: realPool !== undefined,
    });
    await prepared.passwordShown();
    fingerprint = prepared.tls?.fingerprint ?? '';
    served = await serve({
      prepared,
      environment: { searchPath: DEFAULT_SEARCH_PATH },
      now: Date.now,
      productVersion: '1.2.3',
      log: openLog('debug', { write: (line) => void log.push(line) }),
      realPool: realPool?.(),
    });
    port = Number(new URL(served.url).port);
  };
  const stop = async (): Promise<void> => {
    const now = served;
    served = undefined;
    await now?.close();
  };
  await start();
  onTestFinished(stop);
  return {
    folder,
    state,
    log,
    start,
    stop,
    certificate: join(state, 'certificate.pem'),
    get url() {
      return `https://localhost:${port}`;
    },
    get served() {
      if (served === undefined) throw new Error('it is stopped');
      return served;
    },
    connect: async (signal) => {
      const url = `https://localhost:${port}`;
      const connection = await connectPool({
        url,
        credentials: LOGIN,
        trust: { fingerprint },
        signal,
        timeouts: TIMEOUTS,
      });
      onTestFinished(() => connection.close());
      return connection;
    },
  };
}

const USERS = `users: [{name: admin, role: pool-admin, password_hash: "${cheapHash(PASSWORD)}"}]\n`;

export interface TwoPools {
  readonly inner: Running;
  readonly outer: Running;
  /** Names of the disks in the folders of the inner pool. */
  readonly disks: (sr?: keyof typeof SRS) => string[];
  readonly path: (sr: keyof typeof SRS, uuid: string) => string;
}

export interface TwoPoolsOptions {
  readonly realPool?: Partial<RealPoolOptions>;
  /** Of the inner pool's SR `fast`. */
  readonly quota?: string;
  readonly isDefault?: boolean;
  /** The outer pool has SRs in its configuration, too. */
  readonly folders?: boolean;
}

async function innerPool({ quota = '2G', isDefault = true }: TwoPoolsOptions = {}): Promise<Running> {
  const folder = temporaryFolder();
  const config = [
    USERS.trim(),
    'storage_repositories:',
    `  - {name_label: Fast, path: fast, uuid: ${SRS.fast}, default: ${isDefault}, quota: ${quota}}`,
    `  - {name_label: Slow, path: slow, uuid: ${SRS.slow}, capabilities: [VDI_CREATE, VDI_DELETE], quota: 2G}`,
    '',
  ].join('\n');
  return await run(folder, config, undefined);
}

export async function twoPools(options: TwoPoolsOptions = {}): Promise<TwoPools> {
  const inner = await innerPool(options);
  const folder = temporaryFolder();
  const { keyring } = poolPlace(folder);
  const folders = options.folders === true ? 'storage_repositories: [{name_label: own, path: own}]\n' : '';
  const outer = await run(folder, `${USERS}${folders}signature: {keyrings: [${keyring}]}\n`, () => ({
    url: inner.url,
    credentials: LOGIN,
    trust: { caFile: inner.certificate },
    timeouts: TIMEOUTS,
    lookMilliseconds: 20,
    beatMilliseconds: 50,
    ...options.realPool,
  }));
  const folderOf = (sr: keyof typeof SRS): string => join(inner.folder, sr);
  mkdirSync(folderOf('fast'), { recursive: true });
  const disks = (sr: keyof typeof SRS = 'fast'): string[] =>
    readdirSync(folderOf(sr)).filter((name) => name.endsWith('.raw'));
  return { inner, outer, disks, path: (sr, uuid) => join(folderOf(sr), `${uuid}.raw`) };
}

/** curl as the administrator, with the server's certificate. */
export function curl(at: Running, target: string, ...args: readonly string[]): Promise<ToolEnd> {
  const config = join(at.folder, 'curlrc');
  const user = `${LOGIN.user}:${LOGIN.password}`.replaceAll('"', String.raw`\"`);
  writeFileSync(config, `user = "${user}"\n`, { mode: 0o600 });
  const usual = ['-sS', '--config', config, '--cacert', at.certificate];
  return runTool('curl', [...usual, ...args, `${at.url}${target}`]);
}

export async function upload({ outer }: TwoPools, patch: SamplePatch, query = ''): Promise<ToolEnd> {
  const path = join(outer.folder, `${patch.uuid}.xsupdate`);
  writeFileSync(path, patch.bytes);
  return await curl(outer, `/pool_patch_upload${query}`, '--fail-with-body', '-T', path);
}

/** The record of the only VDI of the outer pool. */
export function onlyVdi({ outer }: TwoPools): readonly [string, RecordOf<'VDI'>] {
  const all = outer.served.pool.database.all('VDI');
  const [only] = all;
  if (only === undefined || all.length !== 1) throw new Error(`${all.length} VDIs`);
  return only;
}

export function onlyPatch({ outer }: TwoPools): readonly [string, RecordOf<'pool_patch'>] {
  const [only] = outer.served.pool.database.all('pool_patch');
  if (only === undefined) throw new Error('no patch');
  return only;
}

/** The other record of the outer pool's VDI. */
export function innerVdi({ inner }: TwoPools, uuid: string): readonly [string, RecordOf<'VDI'>] {
  const { database } = inner.served.pool;
  const ref = database.getByUuid('VDI', uuid);
  return [ref, database.get('VDI', ref)];
}
