import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { requireHost, expectNoRemains } from '../host/host-bench.js';
import { filesOf, refused, samplePatch, testPool, upload } from './test-pool.js';

beforeEach((context) => requireHost(context));

test('applied: output, record, applied folder, pool_applied; nothing is left', async () => {
  const { pool, place } = await testPool();
  const sample = await samplePatch('applied');
  const patch = await upload(pool, sample);
  const before = filesOf(place);
  const output = await pool.applies.apply(patch, pool.host);
  expect(output).toContain(`applied ${sample.uuid}`);
  expect(filesOf(place)).toEqual(before);
  expect(pool.database.getAll('VDI')).toHaveLength(1);
  const record = pool.database.get('pool_patch', patch);
  expect(record).toMatchObject({ pool_applied: true, host_patches: [expect.any(String)] });
  const [hostPatch = ''] = record.host_patches;
  expect(pool.database.get('host_patch', hostPatch)).toMatchObject({
    applied: true,
    host: pool.host,
    pool_patch: patch,
  });
  const applied = join(place.state, 'applied');
  expect(readdirSync(applied)).toEqual([sample.uuid]);
  expect(readFileSync(join(applied, sample.uuid), 'utf8')).toContain(`uuid="${sample.uuid}"`);
  await expectNoRemains(place.folder);
  expect((await refused(pool.applies.apply(patch, pool.host))).description).toEqual([
    'PATCH_ALREADY_APPLIED',
    patch,
  ]);
  expect((await refused(pool.patches.destroy(patch))).code).toBe('PATCH_IS_APPLIED');
});
