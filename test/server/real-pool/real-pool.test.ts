/* An outer server with the SRs of an inner one: the mission's upload, record, clean and deletion, disk by disk. */
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../../src/units.js';
import { SERVE_KEY, SERVE_SELF_KEY } from '../../../src/xenapi/vdi-labels.js';
import { requireTool } from '../../oracles/require-tool.js';
import { runJudge } from '../../oracles/run-judge.js';
import { samplePatch, sha256 } from '../../pool/test-pool.js';
import { SRS, curl, onlyPatch, onlyVdi, twoPools, upload } from './two-pools.js';

beforeEach((context) =>
  requireTool(context, 'curl', 'openssl', 'e2fsck', 'debugfs', 'gpgv', 'mke2fs', 'qemu-img'),
);

describe('an upload', () => {
  test('becomes a VDI of the real pool, which e2fsck and debugfs judge there, and is downloaded as it came', async () => {
    const pools = await twoPools();
    const patch = await samplePatch('real pool', 3 * MIB);
    const answer = await upload(pools, patch);
    expect(answer).toMatchObject({ exitCode: 0 });
    const [, vdi] = onlyVdi(pools);
    expect(pools.disks()).toEqual([`${vdi.uuid}.raw`]);
    expect(pools.disks('slow')).toEqual([]);
    // Its facts are those of the pool.
    const there = pools.inner.served.pool.database.all('VDI')[0]?.[1];
    expect(there?.uuid).toBe(vdi.uuid);
    expect(vdi.virtual_size).toBe(statSync(pools.path('fast', vdi.uuid)).size);
    expect(there?.name_label).toBe(`Patch ${patch.uuid} (${onlyPatch(pools)[1].name_label})`);
    const poolUuid = pools.outer.served.pool.database.all('pool')[0]?.[1].uuid;
    expect(there?.other_config).toMatchObject({
      [SERVE_KEY]: poolUuid,
      [SERVE_SELF_KEY]: vdi.uuid,
      'patch-vdi:sha256': patch.sha256,
      'patch-vdi:size': String(patch.bytes.length),
      'patch-vdi:version': '1.2.3',
    });
    expect(there?.other_config).not.toHaveProperty('patch-vdi:upload');
    const disk = pools.path('fast', vdi.uuid);
    expect(runJudge('e2fsck', ['-fn', disk]).exitCode).toBe(0);
    const dumped = join(pools.outer.folder, 'dumped');
    runJudge('debugfs', ['-R', `dump /patch ${dumped}`, disk]);
    expect(sha256(readFileSync(dumped))).toBe(patch.sha256);
    const out = join(pools.outer.folder, 'out');
    const download = await curl(pools.outer, `/pool_patch_download?uuid=${patch.uuid}`, '-f', '-o', out);
    expect(download.exitCode).toBe(0);
    expect(sha256(readFileSync(out))).toBe(patch.sha256);
    const part = await curl(
      pools.outer,
      `/pool_patch_download?uuid=${patch.uuid}`,
      '-f',
      '-r',
      '2000000-2000099',
      '-o',
      out,
    );
    expect(part.exitCode).toBe(0);
    expect(readFileSync(out)).toEqual(patch.bytes.subarray(2_000_000, 2_000_100));
    // Tasks that were made there are gone.
    expect(pools.inner.served.pool.database.all('task')).toEqual([]);
  });

  test('without a length, and into an SR that is named', async () => {
    const pools = await twoPools();
    const patch = await samplePatch('chunked');
    const file = join(pools.outer.folder, 'chunked');
    writeFileSync(file, patch.bytes);
    const query = `/pool_patch_upload?sr_uuid=${SRS.slow}`;
    // 4 GiB do not fit: refused before a byte is read.
    const refused = await curl(pools.outer, query, '-T', file, '-H', 'Transfer-Encoding: chunked');
    expect(refused.stdout).toContain('OUT_OF_SPACE');
    expect(await upload(pools, patch, `?sr_uuid=${SRS.slow}`)).toMatchObject({ exitCode: 0 });
    expect(pools.disks('slow')).toHaveLength(1);
    expect(pools.disks()).toEqual([]);
  });

  test('with a bad signature leaves no VDI in the real pool, and no task', async () => {
    const pools = await twoPools();
    const patch = await samplePatch('forged', MIB);
    const middle = patch.bytes.length / 2;
    patch.bytes[middle] = (patch.bytes[middle] ?? 0) ^ 1;
    const answer = await upload(pools, patch);
    expect(answer.stdout).toContain('INVALID_PATCH');
    expect(pools.disks()).toEqual([]);
    const { database } = pools.inner.served.pool;
    expect(database.all('VDI')).toEqual([]);
    expect(database.all('task').filter(([, { status }]) => status === 'pending')).toEqual([]);
    expect(pools.outer.served.pool.database.all('VDI')).toEqual([]);
  });

  test('goes where the mission says when the pool has no default SR: where VDIs can be cloned', async () => {
    const pools = await twoPools({ isDefault: false });
    expect(await upload(pools, await samplePatch('fallback'))).toMatchObject({ exitCode: 0 });
    expect(pools.disks()).toHaveLength(1);
  });
});

test('the SRs and what they can do are those of the real pool', async () => {
  const { outer } = await twoPools();
  const { database, pool } = outer.served.pool;
  const srs = database.all('SR').map(([, { uuid, name_label, shared }]) => [uuid, name_label, shared]);
  expect(srs).toEqual([
    [SRS.fast, 'Fast', false],
    [SRS.slow, 'Slow', false],
  ]);
  expect(database.get('SR', database.get('pool', pool).default_SR).uuid).toBe(SRS.fast);
  const capabilities = database.all('SM').map(([, sm]) => [sm.type, sm.capabilities]);
  expect(capabilities).toEqual([
    ['folder', ['VDI_CLONE']],
    ['folder-without-clone', ['VDI_CREATE', 'VDI_DELETE']],
  ]);
  expect(database.all('PBD').map(([, pbd]) => [pbd.currently_attached, pbd.device_config])).toEqual([
    [true, {}],
    [true, {}],
  ]);
  expect(database.all('SR')[0]?.[1].physical_size).toBe(2 * 1024 * MIB);
  // No folder of its own.
  expect(readdirSync(outer.state)).not.toContain('sr');
});
