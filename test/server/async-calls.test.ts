import { expect, test } from 'vitest';
import type { XenApi } from '../../src/server/xen-api.js';
import { refused, SMALL_VDI_BYTES, srRef } from '../pool/test-pool.js';
import { testApi, type TestApi } from './test-api.js';

/** Polls as the simplest clients do. */
async function ended({ pool }: TestApi, task: string): Promise<Record<string, unknown>> {
  for (let tries = 0; tries < 1000; tries += 1) {
    const record = pool.database.getRecord('task', task);
    if (record['status'] !== 'pending' && record['status'] !== 'cancelling') return record;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('the task does not end');
}

async function withVdi(): Promise<TestApi & { session: string; vdi: string }> {
  const test = await testApi();
  const session = await test.login('admin');
  const disk = { SR: srRef(test.pool, 'one'), virtual_size: BigInt(SMALL_VDI_BYTES) };
  const vdi = (await test.call('VDI.create', session, disk)) as string;
  return { ...test, session, vdi };
}

test('the task is answered at once, its result is a value of XML-RPC, as XAPI has it', async () => {
  const test = await withVdi();
  const { call, pool, session, vdi, calls } = test;
  const task = (await call('Async.VDI.copy', session, vdi, srRef(pool, 'two'))) as string;
  const record = await ended(test, task);
  const [, copy] = pool.database.getAll('VDI');
  expect(record).toMatchObject({
    name_label: 'Async.VDI.copy',
    status: 'success',
    progress: 1,
    type: '<none/>',
    result: `<value>${copy}</value>`,
    error_info: [],
  });
  const destroyed = await ended(test, (await call('Async.VDI.destroy', session, copy ?? '')) as string);
  expect(destroyed).toMatchObject({ status: 'success', result: '<value></value>' });
  const listed = await ended(test, (await call('Async.VDI.get_all', session)) as string);
  expect(listed['result']).toBe(`<value><array><data><value>${vdi}</value></data></array></value>`);
  await new Promise((resolve) => setImmediate(resolve));
  expect(calls.filter(({ method }) => method.startsWith('Async.'))).toMatchObject(
    ['copy', 'destroy', 'get_all'].map((name) => ({ method: `Async.VDI.${name}`, account: 'admin' })),
  );
});

test('a failure is in error_info, and in the log', async () => {
  const test = await withVdi();
  const { call, session, vdi, calls } = test;
  const task = (await call('Async.VDI.copy', session, vdi, 'OpaqueRef:none')) as string;
  expect(await ended(test, task)).toMatchObject({
    status: 'failure',
    error_info: ['HANDLE_INVALID', 'SR', 'OpaqueRef:none'],
    result: '',
  });
  const other = (await call('Async.VDI.get_record', session, 'OpaqueRef:none')) as string;
  expect(await ended(test, other)).toMatchObject({
    status: 'failure',
    error_info: ['HANDLE_INVALID', 'VDI', 'OpaqueRef:none'],
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(calls.filter(({ error }) => error === 'HANDLE_INVALID')).toHaveLength(2);
});

test('a result that is too large for a record is refused, and the call without Async is not', async () => {
  const test = await withVdi();
  const { call, session, vdi, login } = test;
  const config = { big: '&'.repeat(60_000) };
  await call('VDI.set_other_config', session, vdi, config);
  const reader = await login('reader');
  const record = await ended(test, (await call('Async.VDI.get_all_records', reader)) as string);
  expect(record).toMatchObject({
    status: 'failure',
    result: '',
    error_info: [
      'VALUE_NOT_SUPPORTED',
      'result',
      expect.any(String),
      expect.stringContaining('without Async'),
    ],
  });
  expect(await call('VDI.get_other_config', reader, vdi)).toEqual(config);
});

test('what is wrong with the call itself is told at once, without a task', async () => {
  const { call, session, pool, login } = await withVdi();
  expect((await refused(call('Async.VDI.copy', session))).code).toBe('MESSAGE_PARAMETER_COUNT_MISMATCH');
  expect((await refused(call('Async.VDI.copy', 'x', 'y', 'z'))).code).toBe('SESSION_INVALID');
  const reader = await login('reader');
  expect((await refused(call('Async.VDI.copy', reader, 'y', 'z'))).code).toBe('RBAC_PERMISSION_DENIED');
  expect(pool.database.getAll('task')).toEqual([]);
});

test('a session that stands in the wrong place does not get into a task', async () => {
  const { call, session, vdi, pool } = await withVdi();
  for (const parameters of [
    [vdi, session],
    [session, vdi],
    [vdi, 'x', `${session}y`],
  ]) {
    const error = await refused(call('Async.VDI.copy', session, ...parameters));
    expect(error.description).toEqual(['FIELD_TYPE_ERROR', 'session_id']);
  }
  expect((await refused(call('Async.VDI.create', session, { SR: [session] }))).code).toBe('FIELD_TYPE_ERROR');
  expect(pool.database.getAll('task')).toEqual([]);
});

test('cancelled, nothing is left of a copy', async () => {
  const test = await withVdi();
  const { call, session, pool, vdi } = test;
  const task = (await call('Async.VDI.copy', session, vdi, srRef(pool, 'two'))) as string;
  await call('task.cancel', session, task);
  const record = await ended(test, task);
  expect(record).toMatchObject({ status: 'cancelled', error_info: ['TASK_CANCELLED', task] });
  expect(pool.database.getAll('VDI')).toEqual([vdi]);
});

test('only its owner, or a pool-operator, may cancel a call', async () => {
  const test = await withVdi();
  const { call, session, login, pool, vdi } = test;
  const task = (await call('Async.VDI.copy', session, vdi, srRef(pool, 'two'))) as string;
  const other = await login('admin2');
  expect((await refused(call('task.cancel', other, task))).code).toBe('RBAC_PERMISSION_DENIED');
  expect((await refused(call('task.destroy', other, task))).code).toBe('RBAC_PERMISSION_DENIED');
  expect(await ended(test, task)).toMatchObject({ status: 'success' });
  await call('task.destroy', await login('operator'), task);
});

test('a task that is destroyed meanwhile does not matter, and a client that goes does not either', async () => {
  const { call, session, pool, vdi, api } = await withVdi();
  const gone = new AbortController();
  const client = { address: '', signal: gone.signal };
  const task = (await api.call('Async.VDI.copy', [session, vdi, srRef(pool, 'two')], client)) as string;
  gone.abort();
  await call('task.destroy', session, task);
  for (let tries = 0; tries < 1000 && pool.database.getAll('VDI').length < 2; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const states = (): string[] => pool.database.all('VDI').map(([, { state }]) => state);
  for (let tries = 0; tries < 1000 && states().includes('creating'); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(states()).toEqual(['ready', 'ready']);
});

test('close cancels what is under way, and waits for it', async () => {
  const { call, session, pool, vdi, api } = await withVdi();
  const task = (await call('Async.VDI.copy', session, vdi, srRef(pool, 'two'))) as string;
  const closing: ReturnType<XenApi['close']> = api.close();
  await closing;
  expect(pool.database.get('task', task)).toMatchObject({ status: 'cancelled' });
  expect(pool.database.getAll('VDI')).toEqual([vdi]);
});

test('there is an end to how many calls go on at once', async () => {
  const { call, session } = await withVdi();
  const starts = Array.from({ length: 300 }, () => call('Async.VDI.get_all', session));
  const outcomes = await Promise.allSettled(starts);
  const codes = outcomes.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []));
  expect(new Set(codes)).toEqual(new Set(['PoolError: TOO_BUSY']));
});
