import { setTimeout as sleep } from 'node:timers/promises';
import { ServedPool, type ServedOptions } from './served-pool.js';

export const SHARED_SR = '33333333-3333-4333-8333-333333333333';
export const MASTER_SR = '44444444-4444-4444-8444-444444444444';
export const SLAVE_SR = '55555555-5555-4555-8555-555555555555';

export interface TwoHosts {
  readonly master: ServedPool;
  readonly slave: ServedPool;
}

export function masterOptions(shared?: string): ServedOptions {
  return {
    repositories: [
      `- {name_label: of the master, path: sr-master, uuid: ${MASTER_SR}, default: true}`,
      ...(shared === undefined
        ? []
        : [`- {name_label: shared, path: ${shared}, uuid: ${SHARED_SR}, shared: true}`]),
    ],
    config: ['host: {name_label: master}'],
  };
}

export function slaveOptions(master: ServedPool, shared?: string, quota?: string): ServedOptions {
  const own = quota === undefined ? '' : `, quota: ${quota}`;
  return {
    repositories: [
      `- {name_label: of the slave, path: sr-slave, uuid: ${SLAVE_SR}${own}}`,
      ...(shared === undefined
        ? []
        : [`- {name_label: shared, path: ${shared}, uuid: ${SHARED_SR}, shared: true}`]),
    ],
    config: ['host: {name_label: slave}'],
    arguments: joinArguments(master),
  };
}

export function joinArguments(master: ServedPool): readonly string[] {
  const trust = ['--fingerprint', master.fingerprint];
  return ['--join', master.url, ...trust, '--password-file', master.passwordFile];
}

/**
 * Two hosts of one pool, started for real; the master has a session.
 *
 * @param shared the folder of an SR that both have
 * @param quota of the slave's own SR, such as `64M`
 */
export async function startTwoHosts(shared?: string, quota?: string): Promise<TwoHosts> {
  const master = await ServedPool.start(masterOptions(shared));
  await master.logIn();
  const slave = await ServedPool.start(slaveOptions(master, shared, quota));
  return { master, slave };
}

/** Asks until it is so; a pool looks at its hosts every five seconds. */
export async function eventually<Result>(
  ask: () => Promise<Result>,
  isSo: (result: Result) => boolean,
  seconds = 40,
): Promise<Result> {
  let result = await ask();
  for (let tries = 0; tries < seconds * 5 && !isSo(result); tries += 1) {
    await sleep(200);
    result = await ask();
  }
  return result;
}

type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export async function recordsOf(master: ServedPool, name: string): Promise<Records> {
  return (await master.call(`${name}.get_all_records`)) as Records;
}

export async function refOf(master: ServedPool, name: string, uuid: string): Promise<string> {
  return (await master.call(`${name}.get_by_uuid`, uuid)) as string;
}

/** Waits until an SR of the slave is attached, or is not any more. */
export async function waitForPbd(master: ServedPool, srUuid: string, attached: boolean): Promise<boolean> {
  const sr = await refOf(master, 'SR', srUuid);
  const hosts = await recordsOf(master, 'host');
  const [slave] = Object.entries(hosts).find(([, host]) => host['name_label'] === 'slave') ?? [];
  const ask = async (): Promise<boolean> => {
    const pbds = Object.values(await recordsOf(master, 'PBD'));
    return pbds.some(
      (pbd) => pbd['SR'] === sr && pbd['host'] === slave && pbd['currently_attached'] === true,
    );
  };
  return await eventually(ask, (now) => now === attached);
}
