/* A disk that goes to another host and back takes no memory of either. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import type { ServedPool } from './served-pool.js';
import { MASTER_SR, SLAVE_SR, refOf, startTwoHosts, waitForPbd } from './two-hosts.js';

const DISK_BYTES = 320 * MIB;
/** Buffers of connections and of the garbage collector; a fraction of the disk. */
const MOST_BYTES = 96 * MIB;

/** The most that a process ever had in memory (proc(5), VmHWM, in KiB). */
function peakBytes({ pid }: ServedPool): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024;
}

test('a copy to another host and back is a stream', async () => {
  const { master, slave } = await startTwoHosts();
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const [here, there] = [await refOf(master, 'SR', MASTER_SR), await refOf(master, 'SR', SLAVE_SR)];
  const record = { SR: here, name_label: 'dense', virtual_size: String(DISK_BYTES), type: 'user' };
  const others = { sharable: false, read_only: false, other_config: {}, sm_config: {} };
  const vdi = await master.call('VDI.create', { ...record, ...others });
  const uuid = String(await master.call('VDI.get_uuid', vdi));
  const disk = Buffer.alloc(DISK_BYTES, 'no zeros');
  expect((await master.send('PUT', `/import_raw_vdi?vdi=${uuid}&format=raw`, disk)).status).toBe(200);
  const before = [master, slave].map(peakBytes);
  const remote = await master.call('VDI.copy', vdi, there);
  await master.call('VDI.copy', remote, here);
  const after = [master, slave].map(peakBytes);
  for (const [index, bytes] of after.entries()) {
    expect(bytes - (before[index] ?? 0)).toBeLessThan(MOST_BYTES);
  }
});
