import { expect, test } from 'vitest';
import { Cleanup } from '../../src/build/cleanup.js';

test('the last thing made is undone first, one after the other', async () => {
  const undone: string[] = [];
  const cleanup = new Cleanup();
  cleanup.add(() => void undone.push('source'));
  cleanup.add(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    undone.push('sink');
  });
  cleanup.add(() => void undone.push('template'));
  expect(await cleanup.run()).toEqual([]);
  expect(undone).toEqual(['template', 'sink', 'source']);
});

test('a step that fails does not keep the others from running, and is reported', async () => {
  const undone: string[] = [];
  const [thrown, rejected] = [new Error('thrown'), new Error('rejected')];
  const cleanup = new Cleanup();
  cleanup.add(() => void undone.push('source'));
  cleanup.add(() => {
    throw thrown;
  });
  cleanup.add(() => Promise.reject(rejected));
  expect(await cleanup.run()).toEqual([rejected, thrown]);
  expect(undone).toEqual(['source']);
});

test('everything is undone once', async () => {
  let count = 0;
  const cleanup = new Cleanup();
  cleanup.add(() => void (count += 1));
  await cleanup.run();
  await cleanup.run();
  expect(count).toBe(1);
});
