import { mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Pool } from '../../src/pool/open-pool.js';
import { MIB } from '../../src/units.js';
import { requireHost } from '../host/host-bench.js';
import { expectNothingLeft, scriptPatch, SCRIPT_UUID } from './apply-bench.js';
import {
  download,
  oldPatch,
  openAt,
  poolPlace,
  refused,
  samplePatch,
  sha256,
  signedMessage,
  testPool,
  upload,
  type PoolPlace,
} from './test-pool.js';

describe('"If the patch is still in the master\'s dom0 filesystem then it will fall back to the HTTP handler."', () => {
  beforeEach((context) => requireHost(context));

  async function old(
    apply = 'echo applied',
  ): Promise<{ pool: Pool; place: PoolPlace; ref: string; path: string }> {
    const { pool, place } = await testPool();
    return { pool, place, ...(await oldPatch(pool, await scriptPatch({ apply }))) };
  }

  test('applied from the file, which stays; nothing else is left', async () => {
    const { pool, place, ref, path } = await old(
      'echo from the file; dd if=/dev/zero of="$TMPDIR/z" bs=1M count=4 2>&1 | tail -1',
    );
    const before = sha256(readFileSync(path));
    expect(await pool.applies.precheck(ref, pool.host)).toBe('');
    expect(await pool.applies.apply(ref, pool.host)).toMatch(/^from the file\n4194304 bytes/);
    expect(sha256(readFileSync(path))).toBe(before);
    expect(pool.database.get('pool_patch', ref)).toMatchObject({ pool_applied: true, VDI: 'OpaqueRef:NULL' });
    expect(readdirSync(join(place.state, 'patches'))).toEqual([SCRIPT_UUID]);
    await expectNothingLeft(pool, place);
  });

  test('a file that was changed is not run', async () => {
    const { pool, place, ref, path } = await old(`touch ${'x'.repeat(10)}`);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect((await refused(pool.applies.apply(ref, pool.host))).code).toBe('INVALID_PATCH');
    writeFileSync(path, bytes.subarray(1));
    const cut = await refused(pool.applies.apply(ref, pool.host));
    expect(cut.description).toEqual(['CANNOT_FETCH_PATCH', SCRIPT_UUID]);
    expect(pool.database.getAll('host_patch')).toEqual([]);
    await expectNothingLeft(pool, place);
  });

  test('one that was replaced by another of the same size, signed by the right key', async () => {
    const { pool, place, ref, path } = await old('echo one');
    const other = await scriptPatch({ apply: 'echo two' });
    await pool.database.change((draft) =>
      draft.update('pool_patch', ref, { sha256: sha256(readFileSync(path)) }),
    );
    writeFileSync(path, other.bytes);
    const { description } = await refused(pool.applies.apply(ref, pool.host));
    expect(description).toEqual(['CANNOT_FETCH_PATCH', SCRIPT_UUID]);
    await expectNothingLeft(pool, place);
  });

  test('no room for it: OUT_OF_SPACE before anything', async () => {
    const { pool, place, ref } = await old();
    await pool.database.change((draft) => draft.update('pool_patch', ref, { size: 3 * 1024 * 1024 * MIB }));
    const { description } = await refused(pool.applies.apply(ref, pool.host));
    expect(description).toEqual(['OUT_OF_SPACE', join(place.state, 'tmp')]);
    await expectNothingLeft(pool, place);
  });
});

describe('files that somebody has put into the patch folder', () => {
  const put = (place: PoolPlace, name: string, bytes: Uint8Array | string): void => {
    mkdirSync(join(place.state, 'patches'), { recursive: true });
    writeFileSync(join(place.state, 'patches', name), bytes);
  };

  test('get a record, whatever they are called, and can be fetched and applied', async (context) => {
    requireHost(context);
    const place = poolPlace();
    const sample = await samplePatch('by hand', 64 * 1024, { guidance: ['restartXAPI'] });
    put(place, 'hotfix.xsupdate', sample.bytes);
    const pool = await openAt(place);
    expect(pool.report.adoptedFiles).toEqual([sample.uuid]);
    expect(pool.report.refusedFiles).toEqual([]);
    const ref = pool.database.getByUuid('pool_patch', sample.uuid);
    expect(pool.database.get('pool_patch', ref)).toMatchObject({
      name_label: 'test-patch',
      version: '1.0',
      size: sample.bytes.length,
      sha256: sample.sha256,
      VDI: 'OpaqueRef:NULL',
      after_apply_guidance: ['restartXAPI'],
    });
    expect(sha256(await download(pool, sample.uuid))).toBe(sample.sha256);
    await pool.applies.apply(ref, pool.host);
    await expectNothingLeft(pool, place);
    await pool.close();
    const again = await openAt(place);
    expect(again.report).toMatchObject({ adoptedFiles: [], refusedFiles: [], hostPatches: [] });
    expect(again.database.getAll('pool_patch')).toEqual([ref]);
    await again.close();
  });

  test('that are none are named with the reason, left alone, and cost no start', async () => {
    const place = poolPlace();
    const good = await samplePatch('good');
    put(place, 'a-text', 'no signature');
    put(place, 'b-empty', '');
    put(place, 'c-cut', good.bytes.subarray(0, good.bytes.length - 10));
    put(place, 'd-no-info', await signedMessage('#!/bin/sh\nexit 3\n'));
    put(place, 'e-\u001b[2Jname', 'x');
    put(place, '.hidden', 'x');
    put(place, 'g-good', good.bytes);
    put(place, 'h-the-same-once-more', good.bytes);
    mkdirSync(join(place.state, 'patches', 'i-folder'));
    symlinkSync(join(place.state, 'patches', 'g-good'), join(place.state, 'patches', 'j-link'));
    const pool = await openAt(place);
    expect(pool.report.adoptedFiles).toEqual([good.uuid]);
    const refusals = pool.report.refusedFiles;
    expect(refusals.map((line) => line.slice(0, 2))).toEqual([
      'a-',
      'b-',
      'c-',
      'd-',
      'e-',
      'h-',
      'i-',
      'j-',
    ]);
    expect(refusals.join('\n')).not.toContain('\u001b');
    expect(refusals[3]).toMatch(/exit code 3/);
    expect(refusals[5]).toMatch(/the pool has patch .* already/);
    expect(refusals[7]).toMatch(/no regular file/);
    expect(readdirSync(join(place.state, 'patches'))).toHaveLength(10);
    expect(statSync(join(place.state, 'patches', 'c-cut')).size).toBe(good.bytes.length - 10);
    expect(readdirSync(join(place.state, 'tmp'))).toEqual([]);
    await pool.close();
  });

  test('of a patch that is in a VDI are refused; of one that was cleaned they are taken', async () => {
    const { pool, place } = await testPool();
    const sample = await samplePatch('both');
    const ref = await upload(pool, sample);
    await pool.close();
    put(place, 'file', sample.bytes);
    const second = await openAt(place);
    expect(second.report.refusedFiles).toEqual([expect.stringMatching(/^file: the pool has patch/)]);
    await second.vdis.destroy(second.database.get('pool_patch', ref).VDI);
    await second.database.change((draft) =>
      draft.create('host_patch', { applied: true, host: second.host, pool_patch: ref }),
    );
    await second.close();
    mkdirSync(join(place.state, 'applied'));
    writeFileSync(join(place.state, 'applied', sample.uuid), `<info uuid="${sample.uuid}"/>`);
    const third = await openAt(place);
    expect(third.report.adoptedFiles).toEqual([sample.uuid]);
    expect(third.database.getAll('pool_patch')).toEqual([ref]);
    expect(sha256(await download(third, sample.uuid))).toBe(sample.sha256);
    await third.close();
  });
});
