import { expect, test } from 'vitest';
import type { HostLink } from '../../../src/server/hosts/host-link.js';
import { patchOfMaster } from '../../../src/server/hosts/patch-of-master.js';
import { oldPatch, refused, samplePatch } from '../../pool/test-pool.js';
import { masterHere, slaveHere } from './pool-of-two.js';

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(new Uint8Array(part));
  return Buffer.concat(parts);
}

test('a slave gets a patch that is still a file on its master', async () => {
  const master = await masterHere();
  let link: HostLink | undefined;
  await slaveHere(master, {
    calls: (scene) => {
      link = scene.master;
      return Promise.resolve([]);
    },
  });
  if (link === undefined) throw new Error('there is no way to the master');
  const patch = await samplePatch('file', 700_000);
  await oldPatch(master.pool, patch);
  const download = await patchOfMaster(link, patch.uuid, undefined);
  expect(download.size).toBe(patch.bytes.length);
  expect((await bytesOf(download.stream())).equals(patch.bytes)).toBe(true);
  for (const [start, end] of [
    [0, 1],
    [1000, 300_000],
    [patch.bytes.length - 5, patch.bytes.length],
  ] as const) {
    const piece = await bytesOf(download.stream({ start, end }));
    expect(piece.equals(patch.bytes.subarray(start, end))).toBe(true);
  }
  await download.close();
  const nothing = patchOfMaster(link, '88888888-8888-4888-8888-888888888888', undefined);
  expect((await refused(nothing)).code).toBe('CANNOT_FIND_PATCH');
});
