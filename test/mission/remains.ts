import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { remainsOf } from '../host/host-bench.js';
import type { ServedPool } from './served-pool.js';

function remains(served: ServedPool, others: readonly ServedPool[]): string[] {
  const isServer = (line: string): boolean =>
    [served, ...others].some(({ pid }) => line.startsWith(`process ${pid}:`));
  return remainsOf(served.work.folder).filter((line) => !isServer(line));
}

/**
 * No mount, no loop device and no process but the server itself; the kernel gets ten seconds for it.
 *
 * @param others servers that know something of its folder
 */
export async function expectUnmounted(served: ServedPool, ...others: readonly ServedPool[]): Promise<void> {
  for (let tries = 0; tries < 200 && remains(served, others).length > 0; tries += 1) await sleep(50);
  expect(remains(served, others)).toEqual([]);
}
