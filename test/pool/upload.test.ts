/* One way for an upload to end a test, over the same pool: long, as the list of endings is. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { requireImageJudges } from '../e2e/judges/patch-disk.js';
import { dumpFile } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { GIB } from '../../src/units.js';
import { NULL_REF } from '../../src/pool/fields.js';
import {
  SMALL_VDI_BYTES,
  download,
  filesOf,
  inChunks,
  openAt,
  refused,
  samplePatch,
  sha256,
  srRef,
  testPool,
  upload,
} from './test-pool.js';

test('"Add a field `pool_patch.VDI` of type `Ref(VDI)`. When a new patch is stored in a VDI, it will be referenced here."', async (context) => {
  requireImageJudges(context);
  const { pool, place } = await testPool();
  const patch = await samplePatch('a', 64 * 1024, {
    nameLabel: 'XS71E001',
    nameDescription: 'Fixes <all> & "more"',
    version: '1.0',
    guidance: ['restartHost', 'restartXAPI'],
  });
  const task = await pool.tasks.create('upload');
  const ref = await upload(pool, patch, { task });
  const record = pool.database.getRecord('pool_patch', ref);
  const vdi = pool.database.get('VDI', pool.database.get('pool_patch', ref).VDI);
  expect(record).toEqual({
    uuid: patch.uuid,
    name_label: 'XS71E001',
    name_description: 'Fixes <all> & "more"',
    version: '1.0',
    size: patch.bytes.length,
    pool_applied: false,
    host_patches: [],
    after_apply_guidance: ['restartHost', 'restartXAPI'],
    VDI: expect.stringMatching(/^OpaqueRef:/) as string,
    other_config: {},
  });
  expect(vdi).toMatchObject({
    name_label: `Patch ${patch.uuid} (XS71E001)`,
    virtual_size: SMALL_VDI_BYTES,
    SR: srRef(pool, 'one'),
    state: 'ready',
  });
  expect(pool.database.getRecord('task', task)).toMatchObject({
    status: 'success',
    result: `<value>${ref}</value>`,
    progress: 1,
  });
  // Judges: the disk is an image that e2fsck has nothing to say about, with the upload in it.
  const disk = `${place.sr('one')}/${vdi.uuid}.raw`;
  clean(disk);
  dumpFile(disk, '/patch', `${place.folder}/dumped`);
  expect(sha256(readFileSync(`${place.folder}/dumped`))).toBe(patch.sha256);
  expect(sha256(await download(pool, patch.uuid))).toBe(patch.sha256);
  expect(filesOf(place)).toEqual([`one/${vdi.uuid}.raw`]);
});

test('"A VDI will be created whose size is 4x the apparent size of the patch"', async () => {
  const { pool, place } = await testPool();
  const patch = await samplePatch('four', 5 * 1024 * 1024 + 1);
  const ref = await upload(pool, patch);
  const { VDI } = pool.database.get('pool_patch', ref);
  const { uuid, virtual_size } = pool.database.get('VDI', VDI);
  // 20 MiB and 4 bytes, in steps of 2 MiB.
  expect(virtual_size).toBe(22 * 1024 * 1024);
  expect(statSync(`${place.sr('one')}/${uuid}.raw`).size).toBe(virtual_size);
});

test('"defaulting to 4GiB if we have no size information (i.e. no `content-length` header)"', async () => {
  const { pool } = await testPool();
  const patch = await samplePatch('long');
  const ref = await pool.patches.upload({ source: inChunks(patch.bytes), contentLength: undefined });
  const { VDI } = pool.database.get('pool_patch', ref);
  expect(pool.database.get('VDI', VDI).virtual_size).toBe(4 * GIB);
  expect(sha256(await download(pool, patch.uuid))).toBe(patch.sha256);
});

test('"The HTTP handler for uploading patches will choose an SR […] prefer to use the `pool.default_SR`"', async () => {
  const { pool } = await testPool({ defaultSr: '22222222-2222-4222-8222-222222222222' });
  const ref = await upload(pool, await samplePatch('a'));
  expect(pool.database.get('VDI', pool.database.get('pool_patch', ref).VDI).SR).toBe(srRef(pool, 'two'));
});

test('"fall back to choosing an SR on the master whose driver supports the `VDI_CLONE` capability"', async () => {
  const { pool } = await testPool({ defaultSr: 'none', capabilities: [] });
  expect(pool.database.get('pool', pool.pool).default_SR).toBe(NULL_REF);
  const ref = await upload(pool, await samplePatch('a'));
  expect(pool.database.get('VDI', pool.database.get('pool_patch', ref).VDI).SR).toBe(srRef(pool, 'two'));
});

test('no default and no SR with VDI_CLONE: HOST_HAS_NO_PATCH_SR, and nothing is read', async () => {
  const { pool, place } = await testPool({ defaultSr: 'none', capabilities: [], capabilitiesOfTwo: [] });
  let reads = 0;
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    reads += 1;
    yield await Promise.resolve(new Uint8Array(1));
  })();
  const error = await refused(pool.patches.upload({ source, contentLength: 100 }));
  expect(error.description).toEqual(['HOST_HAS_NO_PATCH_SR', pool.host]);
  expect([reads, filesOf(place)]).toEqual([0, []]);
});

test('a named SR is taken whatever the default', async () => {
  const { pool } = await testPool();
  const ref = await upload(pool, await samplePatch('a'), { sr: srRef(pool, 'two') });
  expect(pool.database.get('VDI', pool.database.get('pool_patch', ref).VDI).SR).toBe(srRef(pool, 'two'));
  const error = await refused(upload(pool, await samplePatch('a'), { sr: 'OpaqueRef:x' }));
  expect(error.description).toEqual(['HANDLE_INVALID', 'SR', 'OpaqueRef:x']);
});

test('not enough space: OUT_OF_SPACE before a byte is read', async () => {
  const { pool, place } = await testPool({ quotaBytes: SMALL_VDI_BYTES });
  let reads = 0;
  let accepted = false;
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    reads += 1;
    yield await Promise.resolve(new Uint8Array(1));
  })();
  const task = await pool.tasks.create('upload');
  const onAccepted = (): void => void (accepted = true);
  const contentLength = SMALL_VDI_BYTES / 4 + 1;
  const error = await refused(pool.patches.upload({ source, contentLength, task, onAccepted }));
  expect(error.description).toEqual(['OUT_OF_SPACE', '11111111-1111-4111-8111-111111111111']);
  expect([reads, accepted, filesOf(place)]).toEqual([0, false, []]);
  expect(pool.database.getRecord('task', task)).toMatchObject({
    status: 'failure',
    error_info: error.description,
  });
  expect(pool.database.getAll('VDI')).toEqual([]);
});

test('two uploads at once do not get the same space', async () => {
  const { pool, place } = await testPool({ quotaBytes: SMALL_VDI_BYTES + SMALL_VDI_BYTES / 2 });
  const patches = [await samplePatch('a'), await samplePatch('b')];
  const ended = await Promise.allSettled(patches.map((patch) => upload(pool, patch)));
  expect(ended.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(ended.find(({ status }) => status === 'rejected')).toMatchObject({
    reason: { code: 'OUT_OF_SPACE' },
  });
  expect(filesOf(place)).toHaveLength(1);
  // The space that was promised is given back when it is used or not.
  await upload(pool, patches[0] ?? { bytes: Buffer.alloc(0) }, { sr: srRef(pool, 'two') });
});

test.for([
  ['one flipped byte', (bytes: Buffer) => Buffer.from(bytes).fill(0xee, 30_000, 30_001)],
  ['no signed message', () => Buffer.from('#!/bin/sh\nexit 0\n')],
  ['a ZIP', () => Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(1000)])],
] as const)('an upload with %s is INVALID_PATCH, and nothing is left', async ([, spoil]) => {
  const { pool, place } = await testPool();
  const { bytes } = await samplePatch('a');
  const task = await pool.tasks.create('upload');
  const error = await refused(upload(pool, { bytes: spoil(bytes) }, { task }));
  expect(error.description).toEqual(['INVALID_PATCH']);
  expect(error.cause).toMatchObject({ name: 'PatchVdiError', kind: 'signature' });
  expect(filesOf(place)).toEqual([]);
  expect(pool.database.getAll('VDI')).toEqual([]);
  expect(pool.database.getAll('pool_patch')).toEqual([]);
  expect(pool.database.getRecord('task', task)).toMatchObject({
    status: 'failure',
    error_info: ['INVALID_PATCH'],
  });
});

test.for([
  ['ends early', 1, /ended too early/],
  ['is longer than announced', -1, /longer than announced/],
] as const)('an upload that %s is INVALID_PATCH_WITH_LOG, and nothing is left', async ([, more, log]) => {
  const { pool, place } = await testPool();
  const { bytes } = await samplePatch('a');
  const error = await refused(
    pool.patches.upload({ source: inChunks(bytes), contentLength: bytes.length + more }),
  );
  expect(error.code).toBe('INVALID_PATCH_WITH_LOG');
  expect(error.parameters.join()).toMatch(log);
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
});

test('an upload that breaks off leaves nothing', async () => {
  const { pool, place } = await testPool();
  const { bytes } = await samplePatch('a');
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    yield* inChunks(bytes.subarray(0, 10_000));
    throw new Error('connection reset');
  })();
  const error = await refused(pool.patches.upload({ source, contentLength: bytes.length }));
  expect(error.parameters.join()).toContain('connection reset');
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
});

test('cancelling the task stops the upload: TASK_CANCELLED, and nothing is left', async () => {
  const { pool, place } = await testPool();
  const { bytes } = await samplePatch('a', 300_000);
  const task = await pool.tasks.create('upload');
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    yield* inChunks(bytes.subarray(0, 200_000));
    await pool.tasks.cancel(task);
    // For ever silent from here on.
    await new Promise(() => undefined);
  })();
  const error = await refused(pool.patches.upload({ source, contentLength: bytes.length, task }));
  expect(error.description).toEqual(['TASK_CANCELLED', task]);
  expect(pool.database.getRecord('task', task)).toMatchObject({ status: 'cancelled' });
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
});

test('a second upload of a UUID takes the new content and keeps the reference', async () => {
  const { pool, place } = await testPool();
  const first = await samplePatch('one');
  const second = await samplePatch('two', 80_000, { uuid: first.uuid, nameLabel: 'second' });
  const ref = await upload(pool, first);
  const before = pool.database.get('pool_patch', ref);
  expect(await upload(pool, second)).toBe(ref);
  const after = pool.database.get('pool_patch', ref);
  expect(after).toMatchObject({
    uuid: first.uuid,
    name_label: 'second',
    size: 80_000,
    sha256: second.sha256,
  });
  expect(after.VDI).not.toBe(before.VDI);
  expect(pool.database.getAll('VDI')).toEqual([after.VDI]);
  expect(filesOf(place)).toHaveLength(1);
  expect(sha256(await download(pool, first.uuid))).toBe(second.sha256);
});

test('uploads of one UUID and of others at the same time: each is whole, one of the one UUID stays', async () => {
  const { pool, place } = await testPool();
  const same = await Promise.all(
    [1, 2, 3].map((number) =>
      samplePatch(`same ${number}`, 64 * 1024, { uuid: '99999999-9999-4999-8999-999999999999' }),
    ),
  );
  const others = await Promise.all([4, 5].map((number) => samplePatch(`other ${number}`)));
  const refs = await Promise.all([...same, ...others].map((patch) => upload(pool, patch)));
  expect(new Set(refs.slice(0, 3)).size).toBe(1);
  expect(pool.database.getAll('pool_patch')).toHaveLength(3);
  expect(pool.database.getAll('VDI')).toHaveLength(3);
  expect(filesOf(place)).toHaveLength(3);
  for (const patch of others) expect(sha256(await download(pool, patch.uuid))).toBe(patch.sha256);
  const kept = sha256(await download(pool, '99999999-9999-4999-8999-999999999999'));
  expect(same.map((patch) => patch.sha256)).toContain(kept);
  const ref = refs[0] ?? '';
  expect(pool.database.get('pool_patch', ref).sha256).toBe(kept);
});

test('after a restart everything is as it was acknowledged', async () => {
  const { pool, place } = await testPool();
  const patch = await samplePatch('a');
  const ref = await upload(pool, patch);
  const record = pool.database.getRecord('pool_patch', ref);
  await pool.close();
  const again = await openAt(place);
  try {
    expect(again.database.getRecord('pool_patch', ref)).toEqual(record);
    expect(sha256(await download(again, patch.uuid))).toBe(patch.sha256);
    expect(again.report).toMatchObject({
      unfinishedVdis: [],
      lostVdis: [],
      remains: [],
      patches: [],
      tasks: [],
    });
  } finally {
    await again.close();
  }
});

test('a download of a range has those bytes and no others', async () => {
  const { pool } = await testPool();
  const patch = await samplePatch('range', 700_001);
  await upload(pool, patch);
  for (const [start, end] of [
    [0, 1],
    [0, 700_001],
    [262_143, 262_145],
    [700_000, 700_001],
    [5, 5],
    [123_456, 654_321],
  ] as const) {
    const bytes = await download(pool, patch.uuid, { start, end });
    expect(bytes.equals(patch.bytes.subarray(start, end)), `${start}-${end}`).toBe(true);
  }
});

test('a download of an unknown patch: CANNOT_FIND_PATCH; of another content than was uploaded: CANNOT_FETCH_PATCH', async () => {
  const { pool, place } = await testPool();
  const unknown = await refused(pool.patches.download('99999999-9999-4999-8999-999999999999'));
  expect(unknown.description).toEqual(['CANNOT_FIND_PATCH']);
  const patch = await samplePatch('a');
  const ref = await upload(pool, patch);
  const { VDI } = pool.database.get('pool_patch', ref);
  const { uuid: disk } = pool.database.get('VDI', VDI);
  writeFileSync(join(place.sr('one'), `${disk}.raw`), new Uint8Array(1000).fill(1));
  const foreign = await refused(pool.patches.download(patch.uuid));
  expect(foreign.description).toEqual(['CANNOT_FETCH_PATCH', patch.uuid]);
});
