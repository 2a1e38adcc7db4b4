import { describe, expect, test, vi } from 'vitest';
import { BufferPool, releaseAfter } from '../../src/io/chunk.js';

describe('a pool of buffers', () => {
  test('gives out each buffer once, then none', () => {
    const pool = new BufferPool(3, 16);
    const taken = [pool.take(), pool.take(), pool.take()];
    expect(new Set(taken).size).toBe(3);
    expect(taken.every((buffer) => buffer?.length === 16)).toBe(true);
    expect(pool.take()).toBeUndefined();
    expect(pool.freeCount).toBe(0);
  });

  test('takes buffers back, and says so to the one who listens', () => {
    const pool = new BufferPool(1, 16);
    const buffer = pool.take();
    const listener = vi.fn<() => void>();
    pool.onGive(listener);
    if (buffer !== undefined) pool.give(buffer);
    expect(listener).toHaveBeenCalledTimes(1);
    expect(pool.take()).toBe(buffer);
    pool.onGive(undefined);
    if (buffer !== undefined) pool.give(buffer);
    expect(listener).toHaveBeenCalledTimes(1);
    expect(pool.freeCount).toBe(1);
  });
});

test('releaseAfter takes effect when the last holder lets go, and only then', () => {
  const release = vi.fn<() => void>();
  const letGo = releaseAfter(3, release);
  letGo();
  letGo();
  expect(release).not.toHaveBeenCalled();
  letGo();
  expect(release).toHaveBeenCalledTimes(1);
});
