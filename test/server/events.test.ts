/* The rules of `event.from`, one a test, and a model of it for random histories, which belong together. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CLASS_NAMES, type ClassName } from '../../src/pool/classes.js';
import { Int32, type RpcStruct, type RpcValue } from '../../src/server/rpc-value.js';
import { refused, srRef } from '../pool/test-pool.js';
import { rpcClient, testApi, type TestApi } from './test-api.js';

interface Event {
  readonly id: string;
  readonly timestamp: string;
  readonly class: string;
  readonly operation: 'add' | 'mod' | 'del';
  readonly ref: string;
  readonly snapshot?: RpcStruct;
}

interface Batch {
  readonly events: readonly Event[];
  readonly token: string;
  readonly valid_ref_counts: Readonly<Record<string, Int32>>;
}

async function from(
  { api }: Pick<TestApi, 'api'>,
  session: string,
  classes: readonly string[],
  token: string,
  timeout: RpcValue = 0,
  signal?: AbortSignal,
): Promise<Batch> {
  const answer = await api.call('event.from', [session, classes, token, timeout], rpcClient(signal));
  return answer as unknown as Batch;
}

const brief = ({ events }: Batch): string[] =>
  events.map(({ class: name, operation }) => `${operation} ${name}`);

test('the empty token: everything that is there', async () => {
  const test = await testApi();
  const session = await test.login('reader');
  const batch = await from(test, session, ['*'], '');
  expect(brief(batch)).toEqual(['add pool', 'add host', 'add sr', 'add sr', 'add pbd', 'add pbd', 'add sm']);
  const [pool] = batch.events;
  expect(pool).toEqual({
    id: String(test.pool.database.generation),
    timestamp: '0.0',
    class: 'pool',
    operation: 'add',
    ref: test.pool.pool,
    snapshot: await test.call('pool.get_record', session, test.pool.pool),
  });
  expect(batch.valid_ref_counts).toEqual({
    pool: new Int32(1),
    host: new Int32(1),
    sr: new Int32(2),
    pbd: new Int32(2),
    sm: new Int32(1),
    vdi: new Int32(0),
    vbd: new Int32(0),
    pool_patch: new Int32(0),
    host_patch: new Int32(0),
    task: new Int32(0),
  });
  expect(brief(await from(test, session, ['*'], batch.token))).toEqual([]);
});

test('only what was asked for: classes in any case, and single records', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token } = await from(test, session, [], '');
  const [one, two] = [
    await test.call('task.create', session, 'a', ''),
    await test.call('task.create', session, 'b', ''),
  ];
  if (typeof one !== 'string' || typeof two !== 'string') throw new Error('two refs');
  await test.call('pool.set_name_label', session, test.pool.pool, 'x');
  const seen = async (...classes: string[]): Promise<string[]> =>
    brief(await from(test, session, classes, token));
  expect(await seen('task')).toEqual(['add task', 'add task']);
  expect(await seen('TASK', 'Pool')).toEqual(['add task', 'add task', 'mod pool']);
  expect(await seen(`task/${two}`)).toEqual(['add task']);
  expect(await seen('VDI', 'nothing', '')).toEqual([]);
  await test.call('task.destroy', session, one);
  // It came and went, or it is gone: as it was known.
  expect(await seen('task')).toEqual(['add task']);
  const later = await from(test, session, ['task'], token);
  await test.call('task.destroy', session, two);
  const { events } = await from(test, session, ['task'], later.token);
  expect(events).toEqual([
    { id: expect.any(String) as string, timestamp: '0.0', class: 'task', operation: 'del', ref: two },
  ]);
});

test('a disk that comes or goes changes its SR, too', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token } = await from(test, session, ['*'], '');
  const vdi = await test.call('VDI.create', session, { SR: srRef(test.pool, 'one'), virtual_size: 1n });
  const batch = await from(test, session, ['SR', 'VDI'], token);
  expect(brief(batch)).toEqual(['add vdi', 'mod sr']);
  expect(batch.events[1]?.snapshot?.['VDIs']).toEqual([vdi]);
  await test.call('VDI.destroy', session, vdi);
  expect(brief(await from(test, session, ['SR', 'VDI'], batch.token)).sort()).toEqual(['del vdi', 'mod sr']);
});

test('event.inject: an event that nothing happened for, and a token from before it', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token: before } = await from(test, session, ['*'], '');
  const injected = (await test.call('event.inject', session, 'pool', test.pool.pool)) as string;
  expect(injected >= before).toBe(true);
  const batch = await from(test, session, ['*'], injected, 60);
  expect(brief(batch)).toEqual(['mod pool']);
  // "lexicographically greater than the one returned by event.inject"
  expect(batch.token > injected).toBe(true);
  expect((await refused(test.call('event.inject', session, 'pool', 'x'))).description).toEqual([
    'HANDLE_INVALID',
    'pool',
    'x',
  ]);
  expect((await refused(test.call('event.inject', session, 'VM', 'x'))).description).toEqual([
    'HANDLE_INVALID',
    'VM',
    'x',
  ]);
});

const ZEROS = '0'.repeat(20);
const UUID = '0d8a2f0c-6c3e-4a53-9f0e-5d5c1a7b9e11';

test.for([
  'x',
  ' ',
  '0',
  ',',
  `${ZEROS},`,
  `,${UUID}`,
  `${ZEROS},${UUID} `,
  `${ZEROS},${UUID.toUpperCase()}`,
  `-${ZEROS.slice(1)},${UUID}`,
  `${'9'.repeat(20)},${UUID}`,
  `${ZEROS},00000000000000000000`,
  `${ZEROS}\n,${UUID}`,
  'x'.repeat(10_000),
])('a token that is none: %j', async (token) => {
  const test = await testApi();
  const error = await refused(from(test, await test.login(), ['*'], token));
  expect(error.description).toEqual(['EVENT_FROM_TOKEN_PARSE_FAILURE', token.slice(0, 64)]);
});

test('a token of another run, of the future, or of long ago: EVENTS_LOST, and the client reads everything', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token } = await from(test, session, ['*'], '');
  const { generation, incarnation } = test.pool.database;
  const at = (number: number): string => `${String(number).padStart(20, '0')},${incarnation}`;
  expect(token).toBe(at(generation));
  const records = Array.from({ length: 10_001 }, (_, index) => ({ uuid: String(index) }));
  const later = generation + 1;
  await test.pool.database.change((draft) => records.map((record) => draft.create('task', record)));
  // So many changes are not remembered; a fresh beginning has them all.
  for (const lost of [`${token.slice(0, 21)}${UUID}`, at(later + 1), token, at(0)]) {
    expect((await refused(from(test, session, ['*'], lost))).description).toEqual(['EVENTS_LOST']);
  }
});

test('it waits for what it was asked for, and no longer than it may', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token } = await from(test, session, ['*'], '');
  const waiting = from(test, session, ['task'], token, '3600');
  await test.call('pool.set_name_label', session, test.pool.pool, 'nobody asked');
  const task = await test.call('task.create', session, 'x', '');
  const batch = await waiting;
  expect(batch.events.map(({ ref }) => ref)).toEqual([task]);
  expect(brief(await from(test, session, ['task'], batch.token, 0.01))).toEqual([]);
  expect(brief(await from(test, session, ['task'], batch.token, -1))).toEqual([]);
});

test('a wait ends with its client, its session, the server, and the ninth of a session ends the first', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token } = await from(test, session, ['*'], '');
  const wait = (ref = session, signal?: AbortSignal): Promise<Batch> =>
    from(test, ref, ['task'], token, 3600, signal);
  const gone = new AbortController();
  const abandoned = wait(session, gone.signal);
  gone.abort();
  expect(brief(await abandoned)).toEqual([]);
  expect(brief(await wait(session, AbortSignal.abort()))).toEqual([]);

  const other = await test.login();
  const ended = refused(wait(other));
  await test.call('session.logout', other);
  expect((await ended).description).toEqual(['SESSION_INVALID', other]);

  const waits = Array.from({ length: 9 }, () => wait());
  expect(await Promise.race(waits.map((one, index) => one.then(() => index)))).toBe(0);
  await test.api.close();
  expect((await Promise.all(waits)).map(brief)).toEqual(waits.map(() => []));
  expect(brief(await wait())).toEqual([]);
});

test('there is an end to how many wait at once, too', async () => {
  const test = await testApi();
  const session = await test.login();
  const { token } = await from(test, session, ['*'], '');
  const waits: Promise<Batch>[] = [];
  for (let count = 0; count < 33; count += 1) {
    const ref = await test.login();
    for (let one = 0; one < 8; one += 1) waits.push(from(test, ref, ['VDI'], token, 3600));
  }
  // 264 of them, 256 of which may wait.
  expect((await Promise.all(waits.slice(0, 8))).map(brief)).toEqual(Array.from({ length: 8 }, () => []));
  await test.api.close();
  await Promise.all(waits);
});

/** What a client knows that follows the pool: records by class and ref. */
class Follower {
  readonly known = new Map<string, RpcStruct>();
  readonly faults: string[] = [];
  token = '';

  take({ events, token }: Batch): void {
    for (const { class: name, operation, ref, snapshot } of events) {
      const key = `${name} ${ref}`;
      if ((operation === 'add') === this.known.has(key)) this.faults.push(`${operation} ${key}`);
      if (snapshot === undefined) this.known.delete(key);
      else this.known.set(key, snapshot);
    }
    if (new Set(events.map((event) => event.ref)).size < events.length) this.faults.push('a record twice');
    this.token = token;
  }
}

async function everything({ call }: TestApi, session: string): Promise<Map<string, RpcValue>> {
  const records: [string, RpcValue][] = [];
  for (const name of CLASS_NAMES) {
    const all = (await call(`${name}.get_all_records`, session)) as RpcStruct;
    for (const [ref, record] of Object.entries(all)) records.push([`${name.toLowerCase()} ${ref}`, record]);
  }
  return new Map(records);
}

/** One change of the pool, of whatever is there. */
async function change({ pool }: TestApi, kind: number, pick: number): Promise<void> {
  const { database } = pool;
  const any = (name: ClassName): string | undefined => {
    const refs = database.getAll(name);
    return refs[pick % refs.length];
  };
  const uuid = `0d8a2f0c-6c3e-4a53-9f0e-${String(pick).padStart(12, '0')}`;
  await database.change((draft) => {
    const [vdi, patch, task] = [any('VDI'), any('pool_patch'), any('task')];
    const sr = any('SR');
    if (kind === 0) draft.create('VDI', { uuid, SR: sr });
    if (kind === 1 && vdi !== undefined) draft.update('VDI', vdi, { name_label: `${pick}`, SR: sr });
    if (kind === 2 && vdi !== undefined) draft.remove('VDI', vdi);
    if (kind === 3) draft.create('pool_patch', { uuid, VDI: vdi });
    if (kind === 4 && patch !== undefined)
      draft.create('host_patch', { uuid, pool_patch: patch, host: pool.host });
    if (kind === 5 && patch !== undefined) draft.remove('pool_patch', patch);
    if (kind === 6) draft.create('task', { uuid, subtask_of: task });
    if (kind === 7 && task !== undefined) draft.remove('task', task);
    // Two things in one change, and something that comes and goes within it.
    if (kind === 8) draft.remove('VDI', draft.create('VDI', { uuid, SR: sr }));
    if (kind === 8 && vdi !== undefined && patch !== undefined) {
      draft.remove('VDI', vdi);
      draft.update('pool_patch', patch, { VDI: 'OpaqueRef:NULL' });
    }
  });
  const task = any('task');
  if (kind === 9 && task !== undefined) database.touch('task', task, { progress: (pick % 100) / 100 });
}

test('sabotage: a follower notices a change that is told twice, or not at all', async () => {
  const test = await testApi();
  const session = await test.login();
  const follower = new Follower();
  follower.take(await from(test, session, ['*'], ''));
  await test.call('task.create', session, 'x', '');
  const batch = await from(test, session, ['*'], follower.token);
  expect(follower.known).not.toEqual(await everything(test, session));
  follower.take(batch);
  expect(follower.known).toEqual(await everything(test, session));
  expect(follower.faults).toEqual([]);
  follower.take(batch);
  expect(follower.faults).toHaveLength(1);
});

test('whoever follows sees every change once: in the end he knows what get_all_records says', async () => {
  const test = await testApi();
  const session = await test.login();
  const followers = [new Follower(), new Follower(), new Follower()];
  const steps = fc.sample(fc.tuple(fc.nat(9), fc.nat(1000), fc.nat(3)), { numRuns: 600, seed: 6 });
  for (const [kind, pick, looks] of steps) {
    await change(test, kind, pick);
    const follower = followers[looks];
    if (follower !== undefined) follower.take(await from(test, session, ['*'], follower.token));
  }
  const truth = await everything(test, session);
  for (const follower of followers) {
    follower.take(await from(test, session, ['*'], follower.token));
    expect(follower.faults).toEqual([]);
    expect(follower.known).toEqual(truth);
  }
  expect(truth.size).toBeGreaterThan(20);
});

test('the same for one who waits while everything happens', async () => {
  const test = await testApi();
  const session = await test.login();
  const follower = new Follower();
  let over = false;
  const following = (async () => {
    while (!over) follower.take(await from(test, session, ['*'], follower.token, 0.2));
    follower.take(await from(test, session, ['*'], follower.token));
  })();
  for (const [kind, pick] of fc.sample(fc.tuple(fc.nat(9), fc.nat(1000)), { numRuns: 300, seed: 7 })) {
    await change(test, kind, pick);
    if (pick % 10 === 0) await new Promise((resolve) => setTimeout(resolve, pick % 7));
  }
  over = true;
  await following;
  expect(follower.faults).toEqual([]);
  expect(follower.known).toEqual(await everything(test, session));
});
