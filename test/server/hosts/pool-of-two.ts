import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { slaveApplyCalls } from '../../../src/server/hosts/serve-apply.js';
import { serveSlave, type ServedSlave, type SlaveOptions } from '../../../src/server/hosts/serve-slave.js';
import { prepareServer } from '../../../src/server/first-start.js';
import { openLog } from '../../../src/server/log.js';
import { serve, type ServedPool } from '../../../src/server/serve.js';
import { parseServeConfig } from '../../../src/server/serve-config.js';
import { DEFAULT_SEARCH_PATH } from '../../../src/tools/find.js';
import { temporaryFolder } from '../../oracles/temporary-folder.js';
import { USERS } from '../server-place.js';

export const MASTER_SR = '44444444-4444-4444-8444-444444444444';
export const SLAVE_SR = '55555555-5555-4555-8555-555555555555';

const HEARTBEAT_MILLISECONDS = 50;

/** Lines of a log. */
type Lines = Readonly<Record<string, unknown>>[];

function logInto(lines: Lines) {
  return openLog('info', { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
}

const configOf = (folder: string, sr: string, name: string): string =>
  `${USERS}listen: {address: 127.0.0.1, port: 0}\nhost: {name_label: ${name}}\n` +
  `storage_repositories: [{name_label: of ${name}, path: ${join(folder, name)}, uuid: ${sr}, quota: 2G}]\n`;

export interface MasterHere extends ServedPool {
  readonly folder: string;
  readonly fingerprint: string;
  readonly lines: Lines;
}

async function prepare(folder: string, name: string, sr: string, isSlave: boolean) {
  mkdirSync(folder, { recursive: true });
  const config = parseServeConfig(configOf(folder, sr, name), { fileName: 'pool.yaml', folder });
  const stateFolder = join(folder, `state-${name}`);
  const prepared = await prepareServer({ stateFolder, config, hostName: name, now: Date.now, isSlave });
  await prepared.passwordShown();
  return prepared;
}

/** A master in this process, until the test ends. */
export async function masterHere(folder = temporaryFolder()): Promise<MasterHere> {
  const prepared = await prepare(folder, 'master', MASTER_SR, false);
  const lines: Lines = [];
  const served = await serve({
    prepared,
    environment: { searchPath: DEFAULT_SEARCH_PATH },
    now: Date.now,
    productVersion: '0',
    log: logInto(lines),
    heartbeatMilliseconds: HEARTBEAT_MILLISECONDS,
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= served.close());
  onTestFinished(close);
  return { ...served, close, folder, fingerprint: prepared.tls?.fingerprint ?? '', lines };
}

export interface SlaveHere extends ServedSlave {
  readonly lines: Lines;
  readonly folder: string;
}

/** A slave in this process, until the test ends. */
export async function slaveHere(
  master: Pick<MasterHere, 'url' | 'fingerprint' | 'folder'>,
  { name = 'slave', sr = SLAVE_SR, ...more }: Partial<SlaveOptions> & { name?: string; sr?: string } = {},
): Promise<SlaveHere> {
  const folder = join(master.folder, name);
  const prepared = await prepare(master.folder, name, sr, true);
  const lines: Lines = [];
  const trust = { fingerprint: master.fingerprint };
  const slave = await serveSlave({
    prepared,
    hostName: name,
    join: { url: master.url, trust, user: 'admin', password: 'right' },
    now: Date.now,
    log: logInto(lines),
    calls: slaveApplyCalls({
      prepared,
      environment: { searchPath: DEFAULT_SEARCH_PATH },
      log: logInto(lines),
    }),
    ...more,
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= slave.close());
  onTestFinished(close);
  return { ...slave, close, lines, folder };
}

/** Until it is so; bounded. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries += 1) {
    if (await isSo()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error('it never is');
}

/** Whether the master can use an SR of a slave. */
export function isAttached({ pool }: MasterHere, sr = SLAVE_SR): boolean {
  const ref = pool.database.findByUuid('SR', sr);
  return pool.database.all('PBD').some(([, pbd]) => pbd.SR === ref && pbd.currently_attached);
}

export async function poolOfTwo(): Promise<{ readonly master: MasterHere; readonly slave: SlaveHere }> {
  const master = await masterHere();
  const slave = await slaveHere(master);
  await until(() => isAttached(master));
  return { master, slave };
}
