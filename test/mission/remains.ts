import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { remainsOf } from '../host/host-bench.js';
import type { ServedPool } from './served-pool.js';

function remains(served: ServedPool): string[] {
  return remainsOf(served.work.folder).filter((line) => !line.startsWith(`process ${served.pid}:`));
}

/** No mount, no loop device and no process but the server itself; the kernel gets ten seconds for it. */
export async function expectUnmounted(served: ServedPool): Promise<void> {
  for (let tries = 0; tries < 200 && remains(served).length > 0; tries += 1) await sleep(50);
  expect(remains(served)).toEqual([]);
}
