import { expect, test } from 'vitest';
import { refused, testPool } from './test-pool.js';

const SCENE = { upload: 'disk', location: () => 'somewhere' } as const;

test('a task: pending, its progress, its success with the change that it is for', async () => {
  const { pool } = await testPool({ now: () => Date.UTC(2026, 10, 21, 18, 16, 0, 999) });
  const { tasks, database } = pool;
  const task = await tasks.create('label', 'description');
  expect(database.getRecord('task', task)).toMatchObject({
    name_label: 'label',
    name_description: 'description',
    status: 'pending',
    created: '20261121T18:16:00Z',
    finished: '19700101T00:00:00Z',
    resident_on: pool.host,
  });
  const { generation } = database;
  await tasks.run(task, SCENE, undefined, async () => {
    for (let step = 0; step <= 10_000; step += 1) tasks.progress(task, step / 20_000);
    tasks.progress(task, 0.1);
    expect(database.get('task', task).progress).toBeCloseTo(0.5, 1);
    // Not one event for every chunk.
    expect(database.generation - generation).toBeLessThan(60);
    await database.change((draft) => tasks.succeedIn(draft, task, 'result'));
  });
  expect(database.getRecord('task', task)).toMatchObject({
    status: 'success',
    result: 'result',
    progress: 1,
  });
  await tasks.destroy(task);
  expect((await refused(tasks.destroy(task))).description).toEqual(['HANDLE_INVALID', 'task', task]);
});

test('a failure is told in the form of the XenAPI, to the caller and in the record', async () => {
  const { pool } = await testPool();
  const task = await pool.tasks.create('x');
  const work = () => Promise.reject(new Error('a defect'));
  const error = await refused(pool.tasks.run(task, SCENE, undefined, work));
  expect(error.description).toEqual(['INTERNAL_ERROR', 'a defect']);
  expect(pool.database.get('task', task)).toMatchObject({ status: 'failure', error_info: error.description });
});

test('cancelled before it began, it does not begin', async () => {
  const { pool } = await testPool();
  const task = await pool.tasks.create('x');
  await pool.tasks.cancel(task);
  let began = false;
  const work = () => Promise.resolve((began = true));
  const error = await refused(pool.tasks.run(task, SCENE, undefined, work));
  expect([error.description, began]).toEqual([['TASK_CANCELLED', task], false]);
  expect(pool.database.get('task', task).status).toBe('cancelled');
  // A second time is no news.
  await pool.tasks.cancel(task);
  expect(pool.database.get('task', task).status).toBe('cancelled');
});

test('finished tasks do not pile up, and one that is under way is never forgotten', async () => {
  const { pool } = await testPool();
  const pending = await pool.tasks.create('pending');
  for (let count = 0; count < 230; count += 1) {
    const task = await pool.tasks.create(`${count}`);
    await pool.database.change((draft) => pool.tasks.succeedIn(draft, task, ''));
  }
  const left = pool.database.all('task');
  expect(left.length).toBeLessThanOrEqual(202);
  expect(left[0]?.[0]).toBe(pending);
  expect(left.at(-1)?.[1].name_label).toBe('229');
});
