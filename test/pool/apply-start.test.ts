import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { requireHost } from '../host/host-bench.js';
import { appliedFiles, expectNothingLeft, leaveMarker, scriptPatch } from './apply-bench.js';
import { openAt, poolPlace, refused, samplePatch, testPool, upload, type PoolPlace } from './test-pool.js';

const BEGAN = '2026-11-22T01:02:03.000Z';

describe('an apply that was killed', () => {
  beforeEach((context) => requireHost(context));

  async function half(): Promise<{ place: PoolPlace; uuid: string; count: () => number }> {
    const { pool, place } = await testPool();
    const sample = await scriptPatch({ apply: `echo once >>${place.folder}/runs` });
    await upload(pool, sample);
    await pool.close();
    leaveMarker(place, sample.uuid, BEGAN);
    const count = (): number =>
      readdirSync(place.folder).includes('runs')
        ? readFileSync(join(place.folder, 'runs'), 'utf8').trim().split('\n').length
        : 0;
    return { place, uuid: sample.uuid, count };
  }

  test('is told: by the start, by a record, by the next apply; it runs once more when somebody says so', async () => {
    const { place, uuid, count } = await half();
    const pool = await openAt(place);
    expect(pool.report.unfinishedApplies).toEqual([`${uuid}, begun at ${BEGAN}`]);
    const patch = pool.database.getByUuid('pool_patch', uuid);
    const { host_patches, pool_applied } = pool.database.get('pool_patch', patch);
    expect(pool_applied).toBe(false);
    expect(pool.database.get('host_patch', host_patches[0] ?? '')).toMatchObject({
      applied: false,
      other_config: { 'unfinished-since': BEGAN },
    });
    const { code, parameters } = await refused(pool.applies.apply(patch, pool.host));
    const key = `apply-again-${pool.database.get('host', pool.host).uuid}`;
    expect(code).toBe('OPERATION_NOT_ALLOWED');
    expect(parameters[0]).toMatch(
      /begun at 2026-11-22T01:02:03\.000Z, did not come to its end: it may have run in part/,
    );
    expect(parameters[0]).toContain(key);
    expect((await refused(pool.applies.poolApply(patch))).code).toBe('OPERATION_NOT_ALLOWED');
    // A question is still answered.
    await pool.applies.precheck(patch, pool.host);
    expect(count()).toBe(0);
    await pool.database.change((draft) =>
      draft.update('pool_patch', patch, { other_config: { [key]: 'yes', mine: '1' } }),
    );
    await pool.applies.apply(patch, pool.host);
    expect(count()).toBe(1);
    const after = pool.database.get('pool_patch', patch);
    expect(after).toMatchObject({ pool_applied: true, other_config: { mine: '1' } });
    expect(after.host_patches).toEqual(host_patches);
    expect(pool.database.get('host_patch', host_patches[0] ?? '')).toMatchObject({
      applied: true,
      other_config: {},
    });
    expect(appliedFiles(place)).toEqual([uuid]);
    await expectNothingLeft(pool, place);
    await pool.close();
  });

  test('is told also when the host alone knows', async () => {
    const { place, uuid, count } = await half();
    const pool = await openAt(place);
    const patch = pool.database.getByUuid('pool_patch', uuid);
    await pool.database.change((draft) => draft.remove('host_patch', draft.all('host_patch')[0]?.[0] ?? ''));
    expect((await refused(pool.applies.apply(patch, pool.host))).code).toBe('OPERATION_NOT_ALLOWED');
    expect(pool.database.getAll('host_patch')).toHaveLength(1);
    expect(count()).toBe(0);
    await pool.close();
  });

  test('one that did not come to its own end is refused by the same process, too, until somebody says so', async () => {
    const { pool, place } = await testPool();
    const [runs, go] = [join(place.folder, 'runs'), join(place.folder, 'go')];
    const sample = await scriptPatch({ apply: `echo once >>${runs}; [ -e ${go} ] || kill -9 $$` });
    const patch = await upload(pool, sample);
    const failed = await refused(pool.applies.apply(patch, pool.host));
    expect(failed).toMatchObject({ code: 'PATCH_APPLY_FAILED' });
    expect(failed.parameters[0]).toContain('SIGKILL');
    for (const _ of [1, 2]) {
      expect((await refused(pool.applies.apply(patch, pool.host))).code).toBe('OPERATION_NOT_ALLOWED');
    }
    expect(readFileSync(runs, 'utf8')).toBe('once\n');
    writeFileSync(go, '');
    const key = `apply-again-${pool.database.get('host', pool.host).uuid}`;
    await pool.database.change((draft) =>
      draft.update('pool_patch', patch, { other_config: { [key]: 'yes' } }),
    );
    await pool.applies.apply(patch, pool.host);
    expect(readFileSync(runs, 'utf8')).toBe('once\nonce\n');
    expect(appliedFiles(place)).toEqual([sample.uuid]);
    await expectNothingLeft(pool, place);
  });

  test('who has said so has said it for one time', async () => {
    const { place, uuid } = await half();
    const first = await openAt(place);
    const patch = first.database.getByUuid('pool_patch', uuid);
    const key = `apply-again-${first.database.get('host', first.host).uuid}`;
    await first.database.change((draft) =>
      draft.update('pool_patch', patch, { other_config: { [key]: '' } }),
    );
    await first.applies.apply(patch, first.host);
    await first.close();
    // It is killed a second time.
    rmSync(join(place.state, 'applied', uuid));
    leaveMarker(place, uuid, BEGAN);
    const second = await openAt(place);
    expect((await refused(second.applies.apply(patch, second.host))).code).toBe('OPERATION_NOT_ALLOWED');
    await second.close();
  });

  test('one that fails then is told by its failure, and leaves no record', async () => {
    const { pool, place } = await testPool();
    const sample = await scriptPatch({ apply: 'exit 9' });
    await upload(pool, sample);
    await pool.close();
    leaveMarker(place, sample.uuid, BEGAN);
    const again = await openAt(place);
    const patch = again.database.getByUuid('pool_patch', sample.uuid);
    const key = `apply-again-${again.database.get('host', again.host).uuid}`;
    await again.database.change((draft) =>
      draft.update('pool_patch', patch, { other_config: { [key]: '' } }),
    );
    expect((await refused(again.applies.apply(patch, again.host))).description).toEqual([
      'PATCH_APPLY_FAILED',
      'exit code 9',
    ]);
    expect(again.database.getAll('host_patch')).toEqual([]);
    expect(appliedFiles(place)).toEqual([]);
    await again.close();
  });
});

describe('"at start the host makes its records agree with that folder"', () => {
  const info = (uuid: string): string =>
    `<info uuid="${uuid}" version="7" name-label="by hand" after-apply-guidance="restartHost"/>\n`;
  const OTHER = '77777777-7777-4777-8777-777777777777';

  async function keep(place: PoolPlace, name: string, text: string): Promise<void> {
    mkdirSync(join(place.state, 'applied'), { recursive: true });
    writeFileSync(join(place.state, 'applied', name), text);
    await Promise.resolve();
  }

  test('a host_patch is made for what is in it, and a pool_patch where nobody knows that one', async () => {
    const { pool, place } = await testPool();
    const sample = await samplePatch('known');
    const patch = await upload(pool, sample);
    await pool.close();
    await keep(place, sample.uuid, info(sample.uuid));
    await keep(place, OTHER, info(OTHER));
    const again = await openAt(place);
    expect(again.report.hostPatches.toSorted()).toEqual([sample.uuid, OTHER].toSorted());
    expect(again.database.get('pool_patch', patch).pool_applied).toBe(true);
    const other = again.database.getByUuid('pool_patch', OTHER);
    expect(again.database.get('pool_patch', other)).toMatchObject({
      name_label: 'by hand',
      version: '7',
      pool_applied: true,
      after_apply_guidance: ['restartHost'],
      VDI: 'OpaqueRef:NULL',
    });
    await again.close();
    // A second start has nothing to say.
    const third = await openAt(place);
    expect(third.report.hostPatches).toEqual([]);
    expect(third.database.getAll('host_patch')).toHaveLength(2);
    await third.close();
  });

  test('one goes whose file is gone, and with it a patch that was known for nothing else', async () => {
    const { pool, place } = await testPool();
    const sample = await samplePatch('gone');
    const patch = await upload(pool, sample);
    await pool.close();
    await keep(place, sample.uuid, info(sample.uuid));
    await keep(place, OTHER, info(OTHER));
    await (await openAt(place)).close();
    rmSync(join(place.state, 'applied'), { recursive: true });
    const again = await openAt(place);
    expect(again.report.hostPatches.toSorted()).toEqual([sample.uuid, OTHER].toSorted());
    expect(again.report.patches).toEqual([OTHER]);
    expect(again.database.getAll('host_patch')).toEqual([]);
    expect(again.database.get('pool_patch', patch)).toMatchObject({ pool_applied: false, host_patches: [] });
    await again.close();
  });

  test('whatever else lies there does no harm', async () => {
    const place = poolPlace();
    await (await openAt(place)).close();
    const others = ['1', '2', '3', '4', '5'].map((digit) => OTHER.replaceAll('7', digit));
    const [garbage = '', wrong = '', link = '', folder = '', long = ''] = others;
    await keep(place, garbage, '\0\xff not XML');
    await keep(place, wrong, info(OTHER));
    await keep(place, 'README', info(OTHER));
    await keep(place, long, ' '.repeat(200_000) + info(long));
    symlinkSync('/etc/passwd', join(place.state, 'applied', link));
    mkdirSync(join(place.state, 'applied', folder));
    const pool = await openAt(place);
    expect(pool.database.getAll('pool_patch')).toEqual([]);
    expect(pool.database.getAll('host_patch')).toEqual([]);
    await pool.close();
  });

  test("a folder of one's own choice", async () => {
    const place = poolPlace();
    const appliedFolder = join(place.folder, 'elsewhere');
    mkdirSync(appliedFolder);
    writeFileSync(join(appliedFolder, OTHER), info(OTHER));
    const pool = await openAt(place, { appliedFolder });
    expect(pool.report.hostPatches).toEqual([OTHER]);
    await pool.close();
  });
});
