/* A task, or a call that becomes one, whose answer is lost on its way. */
import { describe, expect, test } from 'vitest';
import { copyVdi } from '../../src/xenapi/transfer.js';
import { createTask } from '../../src/xenapi/make-task.js';
import { withTask } from '../../src/xenapi/tasks.js';
import { ReplayError, startReplay, vdiFields, type Replay } from '../oracles/xapi-replay.js';
import { TIMEOUTS, connected, thrownBy } from './pools.js';

/** The pool does what it is told once, and the connection breaks before it says so. */
function loseTheAnswer(pool: Replay, method: string): void {
  pool.answers.set(method, (params) => {
    pool.answers.delete(method);
    pool.call(method, params);
    for (const socket of pool.sockets) socket.destroy();
    return '';
  });
}

describe('task.create', () => {
  test('whose answer is lost: the task is found by its description, and destroyed; it is never made again', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    loseTheAnswer(pool, 'task.create');
    const worked = withTask(connection, 'patch-vdi test', () =>
      Promise.reject(new Error('not to be called')),
    );
    expect(await thrownBy(worked)).toMatchObject({
      kind: 'sink',
      message: 'the connection to the server broke: task.create',
    });
    // The call of the client, and that of the test.
    expect(pool.callsOf('task.create')).toHaveLength(2);
    expect(pool.callsOf('task.destroy')).toHaveLength(1);
    expect([...pool.tables.task.keys()]).toEqual([]);
  });

  test('that comes through although nobody hears of it for a while: looked for more than once', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.answers.set('task.create', (params) => {
      pool.answers.delete('task.create');
      setTimeout(() => void pool.call('task.create', params), 20);
      for (const socket of pool.sockets) socket.destroy();
      return '';
    });
    expect(await thrownBy(createTask(connection, 'patch-vdi test', 'x'))).toMatchObject({ kind: 'sink' });
    expect([...pool.tables.task.keys()]).toEqual([]);
  });

  test('of somebody else, with the same label, stays', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    const theirs = await createTask(connection, 'patch-vdi test', 'x');
    loseTheAnswer(pool, 'task.create');
    await thrownBy(createTask(connection, 'patch-vdi test', 'x'));
    expect([...pool.tables.task.keys()]).toEqual([theirs]);
  });

  test('that is refused is not looked for', async () => {
    const pool = await startReplay();
    const connection = await connected(pool);
    pool.answers.set('task.create', () => {
      throw new ReplayError('RBAC_PERMISSION_DENIED', 'task.create', 'no');
    });
    expect(await thrownBy(createTask(connection, 'patch-vdi test', ''))).toMatchObject({
      code: 'RBAC_PERMISSION_DENIED',
    });
    expect(pool.callsOf('task.get_all_records')).toEqual([]);
  });

  test('that was lost with all of the server: the first error is the one that counts', async () => {
    const pool = await startReplay();
    const connection = await connected(pool, { timeouts: { ...TIMEOUTS, farewell: 100 } });
    pool.intercept = (request) => {
      request.socket.destroy();
      return true;
    };
    expect(await thrownBy(createTask(connection, 'patch-vdi test', ''))).toMatchObject({
      message: 'the connection to the server broke: task.create',
    });
  });
});

test('Async.VDI.copy whose answer is lost: nothing is touched, and the error says where to look', async () => {
  const pool = await startReplay();
  const [[local], [shared]] = [...pool.tables.SR] as [[string, unknown], [string, unknown]];
  pool.tables.VDI.set('OpaqueRef:vdi', vdiFields('one', local, 16));
  const connection = await connected(pool);
  loseTheAnswer(pool, 'Async.VDI.copy');
  expect(await thrownBy(copyVdi(connection, 'OpaqueRef:vdi', shared))).toMatchObject({
    kind: 'sink',
    hint: 'patch-vdi pool tasks shows whether Async.VDI.copy goes on, and can cancel it',
    leftBehind: 'perhaps a task Async.VDI.copy, and what it makes: the server did not say',
  });
  expect(pool.callsOf('task.cancel')).toEqual([]);
  expect(pool.tables.task.size).toBe(1);
});

test('Async.VDI.copy that is stopped while its answer is under way: the task is known, cancelled and destroyed', async () => {
  const pool = await startReplay();
  const [[local], [shared]] = [...pool.tables.SR] as [[string, unknown], [string, unknown]];
  pool.tables.VDI.set('OpaqueRef:vdi', vdiFields('one', local, 16));
  const stop = new AbortController();
  const connection = await connected(pool, { signal: stop.signal });
  pool.answers.set('Async.VDI.copy', (params) => {
    pool.answers.delete('Async.VDI.copy');
    stop.abort(new Error('stopped'));
    return pool.call('Async.VDI.copy', params);
  });
  expect(await thrownBy(copyVdi(connection, 'OpaqueRef:vdi', shared))).toMatchObject({ message: 'stopped' });
  expect(pool.callsOf('task.cancel')).toHaveLength(1);
  expect(pool.tables.task.size).toBe(0);
});
