import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { chooseSr, type SrCandidate } from '../../src/pool/choose-sr.js';
import { NULL_REF } from '../../src/pool/fields.js';
import { mayBeDeleted, patchSource, patchVdiSize, requireSpace } from '../../src/pool/patch-rules.js';
import { GIB, MIB, TIB } from '../../src/units.js';
import {
  download,
  filesOf,
  oldPatch,
  openAt,
  refused,
  samplePatch,
  sha256,
  testPool,
  upload,
} from './test-pool.js';

const sr = (ref: string, masterCanReach: boolean, ...capabilities: string[]): SrCandidate => ({
  ref,
  uuid: `uuid of ${ref}`,
  masterCanReach,
  capabilities: new Set(capabilities),
});

const CLONING = sr('cloning', true, 'VDI_CREATE', 'VDI_CLONE');
const PLAIN = sr('plain', true, 'VDI_CREATE');
const GONE = sr('gone', false, 'VDI_CLONE');

test.for([
  ['the default, though it cannot clone', [CLONING, PLAIN], 'plain', 'plain'],
  [
    'no default: the first that clones',
    [PLAIN, CLONING, sr('later', true, 'VDI_CLONE')],
    NULL_REF,
    'cloning',
  ],
  ['a default that does not exist', [PLAIN, CLONING], 'destroyed', 'cloning'],
  ['a default that the master cannot reach', [GONE, PLAIN, CLONING], 'gone', 'cloning'],
  ['none that clones and can be reached', [GONE, PLAIN], 'gone', undefined],
  ['none at all', [], NULL_REF, undefined],
] as const)('SR choice: %s', ([, candidates, defaultSr, expected]) => {
  const choose = () => chooseSr({ candidates, defaultSr, master: 'the master' });
  if (expected !== undefined) expect(choose().ref).toBe(expected);
  else expect(choose).toThrow('HOST_HAS_NO_PATCH_SR: the master');
});

test('SR choice: a named one, or none', () => {
  const choose = (wanted: string) =>
    chooseSr({ candidates: [CLONING, PLAIN, GONE], defaultSr: 'cloning', master: 'm', wanted });
  expect(choose('plain')).toBe(PLAIN);
  expect(() => choose('gone')).toThrow('SR_HAS_NO_PBDS: gone');
  expect(() => choose('other')).toThrow('SR_HAS_NO_PBDS: other');
});

test('"whose size is 4x the apparent size of the patch, defaulting to 4GiB"', () => {
  expect(patchVdiSize(undefined)).toBe(4 * GIB);
  expect(patchVdiSize(GIB)).toBe(4 * GIB);
  expect(patchVdiSize(1)).toBe(16 * MIB);
  expect(() => patchVdiSize(4 * TIB + 1)).toThrow(expect.objectContaining({ kind: 'space' }) as Error);
});

test('a VDI that just fits has space, one byte more has not', () => {
  expect(() => requireSpace(10, 10, 'SR')).not.toThrow();
  expect(() => requireSpace(11, 10, 'SR')).toThrow('OUT_OF_SPACE: SR');
});

test('"records will only be deleted if both […] a missing file on the master *and* the `VDI` field is a dangling reference"', () => {
  const table = [true, false].flatMap((fileMissing) =>
    [true, false].flatMap((vdiDangling) =>
      [true, false].map((isApplied) => ({ fileMissing, vdiDangling, isApplied })),
    ),
  );
  expect(table.filter(mayBeDeleted)).toEqual([{ fileMissing: true, vdiDangling: true, isApplied: false }]);
  expect(table.filter((backing) => patchSource(backing) === 'nowhere')).toHaveLength(2);
});

test('"`pool_patch.clean` […] will still try to clean a patch from the *local filesystem* of the master but this is pointless for the new VDI patch uploads"', async () => {
  const calls: string[] = [];
  const { pool } = await testPool({ onDeprecated: (call, advice) => calls.push(`${call}: ${advice}`) });
  const old = await oldPatch(pool, await samplePatch('old'));
  const patch = await samplePatch('new');
  const ref = await upload(pool, patch);
  expect(existsSync(old.path)).toBe(true);
  await pool.patches.clean(old.ref);
  await pool.patches.clean(old.ref);
  expect(existsSync(old.path)).toBe(false);
  await pool.patches.clean(ref);
  expect(sha256(await download(pool, patch.uuid))).toBe(patch.sha256);
  expect(calls).toHaveLength(3);
  for (const call of calls) expect(call).toMatch(/^pool_patch\.clean: .*VDI\.destroy/);
});

test('"`pool_patch.clean_on_host` will be deprecated. It will still try to clean a patch *from the local filesystem*"', async () => {
  const calls: string[] = [];
  const { pool } = await testPool({ onDeprecated: (call, advice) => calls.push(`${call}: ${advice}`) });
  const old = await oldPatch(pool, await samplePatch('old'));
  const other = await pool.database.change((draft) => draft.create('host', { name_label: 'other' }));
  await pool.patches.cleanOnHost(old.ref, other);
  expect(existsSync(old.path)).toBe(true);
  await pool.patches.cleanOnHost(old.ref, pool.host);
  expect(existsSync(old.path)).toBe(false);
  const error = await refused(pool.patches.cleanOnHost(old.ref, 'nobody'));
  expect(error.description).toEqual(['HANDLE_INVALID', 'host', 'nobody']);
  for (const call of calls) expect(call).toMatch(/^pool_patch\.clean_on_host: .*VDI\.destroy/);
  expect(calls).toHaveLength(2);
});

test('"`pool_patch.pool_clean` will be deprecated. It will destroy any associated patch VDI."', async () => {
  const calls: string[] = [];
  const { pool, place } = await testPool({
    onDeprecated: (call, advice) => calls.push(`${call}: ${advice}`),
  });
  const ref = await upload(pool, await samplePatch('a'));
  await pool.patches.poolClean(ref);
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
  await pool.patches.poolClean(ref);
  expect(calls).toHaveLength(2);
  for (const call of calls) expect(call).toMatch(/^pool_patch\.pool_clean: .*VDI\.destroy/);
});

test('"Older patches and cleaned patches will have invalid references here."', async () => {
  const { pool } = await testPool();
  const old = await oldPatch(pool, await samplePatch('old'));
  expect(pool.database.get('pool_patch', old.ref).VDI).toBe(NULL_REF);
  const patch = await samplePatch('a');
  const ref = await upload(pool, patch);
  await pool.patches.poolClean(ref);
  const { VDI } = pool.database.get('pool_patch', ref);
  expect(pool.database.find('VDI', VDI)).toBeUndefined();
  expect((await refused(pool.patches.download(patch.uuid))).code).toBe('CANNOT_FIND_PATCH');
});

test('"Users will be encouraged to call `VDI.destroy` instead": it works, and the record goes with the next start', async () => {
  const { pool, place } = await testPool();
  const patch = await samplePatch('a');
  const ref = await upload(pool, patch);
  await pool.vdis.destroy(pool.database.get('pool_patch', ref).VDI);
  expect(filesOf(place)).toEqual([]);
  expect(pool.database.find('pool_patch', ref)).toBeDefined();
  await pool.close();
  const again = await openAt(place);
  expect([again.database.getAll('pool_patch'), again.report.patches]).toEqual([[], [patch.uuid]]);
  await again.close();
});

test('"If the patch is still in the master\'s dom0 filesystem": it is served from there', async () => {
  const { pool } = await testPool();
  const patch = await samplePatch('old', 300_000);
  const { ref } = await oldPatch(pool, patch);
  expect(sha256(await download(pool, patch.uuid))).toBe(patch.sha256);
  const part = await download(pool, patch.uuid, { start: 1000, end: 280_000 });
  expect(part.equals(patch.bytes.subarray(1000, 280_000))).toBe(true);
  expect(await pool.patches.collect()).toEqual([]);
  expect(pool.database.find('pool_patch', ref)).toBeDefined();
});

test('an upload of a patch that was a file: the new content, the same reference, no file', async () => {
  const { pool } = await testPool();
  const first = await samplePatch('old');
  const { ref, path } = await oldPatch(pool, first);
  const second = await samplePatch('new', 70_000, { uuid: first.uuid });
  expect(await upload(pool, second)).toBe(ref);
  expect(existsSync(path)).toBe(false);
  expect(sha256(await download(pool, first.uuid))).toBe(second.sha256);
  expect(pool.database.get('pool_patch', ref)).toMatchObject({ filename: '', replaced_filename: '' });
});

test('destroy removes bytes and record; an applied patch is refused: PATCH_IS_APPLIED', async () => {
  const { pool, place } = await testPool();
  const ref = await upload(pool, await samplePatch('a'));
  const hostPatch = await pool.database.change((draft) =>
    draft.create('host_patch', { host: pool.host, pool_patch: ref, applied: true }),
  );
  expect(pool.database.get('pool_patch', ref).host_patches).toEqual([hostPatch]);
  expect((await refused(pool.patches.destroy(ref))).description).toEqual(['PATCH_IS_APPLIED']);
  expect(filesOf(place)).toHaveLength(1);
  await pool.database.change((draft) => draft.remove('host_patch', hostPatch));
  await pool.patches.destroy(ref);
  expect([filesOf(place), pool.database.getAll('pool_patch')]).toEqual([[], []]);
  expect((await refused(pool.patches.destroy(ref))).description).toEqual([
    'HANDLE_INVALID',
    'pool_patch',
    ref,
  ]);
});
