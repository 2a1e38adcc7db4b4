import { expect, test, vi } from 'vitest';
import { untilAborted } from '../../src/io/until-aborted.js';

const reason = new Error('stop it');

test('gives the result, and stops listening', async () => {
  const { signal } = new AbortController();
  const removed = vi.spyOn(signal, 'removeEventListener');
  await expect(untilAborted(Promise.resolve(7), signal)).resolves.toBe(7);
  expect(removed).toHaveBeenCalledTimes(1);
});

test('gives the error, and stops listening', async () => {
  const { signal } = new AbortController();
  const removed = vi.spyOn(signal, 'removeEventListener');
  const fault = new Error('disk full');
  await expect(untilAborted(Promise.reject(fault), signal)).rejects.toBe(fault);
  expect(removed).toHaveBeenCalledTimes(1);
});

test('an abort comes first, before and while waiting', async () => {
  const silence = new Promise<never>(() => undefined);
  await expect(untilAborted(silence, AbortSignal.abort(reason))).rejects.toBe(reason);
  const stop = new AbortController();
  const waiting = untilAborted(silence, stop.signal);
  stop.abort(reason);
  await expect(waiting).rejects.toBe(reason);
});

test("what fails after the abort is nobody's unhandled rejection", async () => {
  const unhandled = vi.fn<() => void>();
  process.on('unhandledRejection', unhandled);
  let fail: (error: Error) => void = () => undefined;
  const stop = new AbortController();
  const waiting = untilAborted(new Promise<never>((_, reject) => (fail = reject)), stop.signal);
  stop.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  fail(new Error('too late'));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});
