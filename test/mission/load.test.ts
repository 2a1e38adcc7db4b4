/*
 * 8 uploads of 256 MiB at once next to 50 readers: nothing fails, and the memory of the server does not grow with it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { samplePatch, samplePatchFile, sha256 } from '../pool/test-pool.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => requireTool(context, 'curl'));

const UPLOADS = 8;
const UPLOAD_BYTES = 256 * MIB;
const READERS = 50;
const READ_BYTES = 8 * MIB;
/** Each reader, one after the other: they are there as long as the uploads are. */
const READS_EACH = 6;
const MOST_RESIDENT_BYTES = 300 * MIB;

/** The largest that it ever was (proc(5), VmHWM). */
function peakResidentBytes(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) * 1024;
}

test(`${UPLOADS} uploads next to ${READERS} readers`, async () => {
  const served = await ServedPool.start();
  const small = await samplePatch('small', READ_BYTES);
  expect((await served.send('PUT', '/pool_patch_upload', small.bytes)).status).toBe(200);
  const files: string[] = [];
  for (let index = 0; index < UPLOADS; index += 1) {
    const path = join(served.work.folder, `large-${index}`);
    await samplePatchFile(path, path, UPLOAD_BYTES);
    files.push(path);
  }
  const uploads = files.map((path) => served.curl('-f', '-T', path, '/pool_patch_upload'));
  const readers = Array.from({ length: READERS }, async (_, reader) => {
    const digests: string[] = [];
    for (let read = 0; read < READS_EACH; read += 1) {
      const out = join(served.work.tmp, `read-${reader}`);
      const got = await served.curl('-f', '-o', out, `/pool_patch_download?uuid=${small.uuid}`);
      expect(got).toMatchObject({ exitCode: 0, stderr: '' });
      digests.push(sha256(readFileSync(out)));
    }
    return digests;
  });
  for (const ended of await Promise.all(uploads)) expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
  for (const digests of await Promise.all(readers)) {
    expect(digests).toEqual(Array.from({ length: READS_EACH }, () => small.sha256));
  }
  const peak = peakResidentBytes(served.pid);
  expect(peak).toBeGreaterThan(30 * MIB);
  expect(peak).toBeLessThan(MOST_RESIDENT_BYTES);
  await served.logIn();
  const sizes = Object.values(
    (await served.call('pool_patch.get_all_records')) as Record<string, { size: number }>,
  );
  expect(sizes.map(({ size }) => size).toSorted((a, b) => a - b)).toEqual([
    small.bytes.length,
    ...files.map(() => UPLOAD_BYTES),
  ]);
}, 300_000);
