/* The disks of a real pool through the calls of ours: copies, imports, exports, deletion; and everybody else's disks. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../../src/units.js';
import { SERVE_SELF_KEY, SERVE_TASK_PREFIX } from '../../../src/xenapi/vdi-labels.js';
import { requireTool } from '../../oracles/require-tool.js';
import { runJudge } from '../../oracles/run-judge.js';
import { inChunks, refused, samplePatch } from '../../pool/test-pool.js';
import { SRS, curl, innerVdi, onlyPatch, onlyVdi, twoPools, upload, type TwoPools } from './two-pools.js';

beforeEach((context) => requireTool(context, 'curl', 'openssl', 'gpgv', 'mke2fs', 'qemu-img', 'cmp'));

/** Two pools, and a patch in them. */
async function withPatch(seed = 'disks'): Promise<TwoPools> {
  const pools = await twoPools();
  expect(await upload(pools, await samplePatch(seed))).toMatchObject({ exitCode: 0 });
  return pools;
}

const same = (one: string, other: string): void =>
  expect(runJudge('cmp', [one, other])).toMatchObject({ exitCode: 0 });

describe('copies', () => {
  test('between two SRs are the pool’s own work, and are ours', async () => {
    const pools = await withPatch();
    const { pool } = pools.outer.served;
    const [vdi, { uuid }] = onlyVdi(pools);
    const copy = await pool.vdis.copy(vdi, pool.database.getByUuid('SR', SRS.slow));
    const { uuid: copyUuid } = pool.database.get('VDI', copy);
    expect(pools.disks('slow')).toEqual([`${copyUuid}.raw`]);
    same(pools.path('fast', uuid), pools.path('slow', copyUuid));
    const methods = pools.inner.log.map((line) => (JSON.parse(line) as { method?: string }).method);
    expect(methods).toContain('Async.VDI.copy');
    expect(pools.inner.log.join('')).not.toContain('export_raw_vdi');
    const [, there] = innerVdi(pools, copyUuid);
    expect(there.other_config).toMatchObject({ [SERVE_SELF_KEY]: copyUuid });
    // Nothing is noted any more on either of them.
    expect(JSON.stringify(pools.inner.served.pool.database.all('VDI'))).not.toContain('serve-copy');
    await pool.vdis.destroy(copy);
    expect(pools.disks('slow')).toEqual([]);
    expect(pools.disks()).toEqual([`${uuid}.raw`]);
  });

  test('in the same SR are clones', async () => {
    const pools = await withPatch();
    const { pool } = pools.outer.served;
    const [vdi, { uuid }] = onlyVdi(pools);
    const { uuid: clone } = pool.database.get('VDI', await pool.vdis.clone(vdi));
    same(pools.path('fast', uuid), pools.path('fast', clone));
  });

  /** What the pool does with a copy that is cancelled: it stops, or has been too fast. */
  test.each(['stops', 'ends nevertheless'])(
    'that are cancelled are gone there, too: the pool %s',
    async (how) => {
      const pools = await withPatch();
      const { pool } = pools.outer.served;
      const [vdi, { uuid }] = onlyVdi(pools);
      const { vdis } = pools.inner.served.pool;
      const copyThere = vdis.copy.bind(vdis);
      const stop = new AbortController();
      let isStopped = false;
      vdis.copy = async (ref, sr, options) => {
        stop.abort(new Error('enough'));
        if (how === 'ends nevertheless') return await copyThere(ref, sr);
        const { signal, task = '' } = options ?? {};
        await expect
          .poll(() => signal?.aborted === true || pools.inner.served.pool.tasks.signal(task).aborted)
          .toBe(true);
        isStopped = true;
        return await copyThere(ref, sr, options);
      };
      const sr = pool.database.getByUuid('SR', SRS.slow);
      const copy = pool.vdis.copy(vdi, sr, { signal: stop.signal });
      expect((await refused(copy)).code).toBe('TASK_CANCELLED');
      expect(isStopped).toBe(how === 'stops');
      expect(pools.disks('slow')).toEqual([]);
      expect(pools.disks()).toEqual([`${uuid}.raw`]);
      expect(pool.database.all('VDI').map(([ref]) => ref)).toEqual([vdi]);
      expect(JSON.stringify(pools.inner.served.pool.database.all('VDI'))).not.toContain('serve-copy');
    },
  );
});

describe('imports and exports', () => {
  test.each(['raw', 'vhd'] as const)('%s goes in and comes out as qemu-img has it', async (format) => {
    const pools = await twoPools();
    const { outer } = pools;
    const disk = Buffer.alloc(10 * MIB);
    randomBytes(3 * MIB).copy(disk, 5 * MIB);
    const [raw, given, out] = ['raw', 'given', 'out'].map((name) => join(outer.folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(raw, disk);
    if (format === 'raw') writeFileSync(given, disk);
    else runJudge('qemu-img', ['convert', '-f', 'raw', '-O', 'vpc', '-o', 'force_size=on', raw, given]);
    const { pool } = outer.served;
    const sr = pool.database.getByUuid('SR', SRS.fast);
    const vdi = await pool.vdis.create({ sr, nameLabel: 'a disk', virtualSize: disk.length });
    const { uuid } = pool.database.get('VDI', vdi);
    expect(pools.disks()).toEqual([`${uuid}.raw`]);
    expect(innerVdi(pools, uuid)[1].name_label).toBe('a disk');
    const query = `vdi=${uuid}&format=${format}`;
    expect(await curl(outer, `/import_raw_vdi?${query}`, '--fail-with-body', '-T', given)).toMatchObject({
      exitCode: 0,
    });
    same(raw, pools.path('fast', uuid));
    expect(await curl(outer, `/export_raw_vdi?${query}`, '--fail-with-body', '-o', out)).toMatchObject({
      exitCode: 0,
    });
    const kind = format === 'raw' ? 'raw' : 'vpc';
    const compared = runJudge('qemu-img', ['compare', '-f', 'raw', '-F', kind, raw, out]);
    expect(compared).toMatchObject({ exitCode: 0 });
    // Again, with less in it: nothing old shines through.
    writeFileSync(given, Buffer.alloc(MIB, 7));
    await pool.vdis.import(vdi, inChunks(readFileSync(given)), { format: 'raw', contentLength: undefined });
    const short = Buffer.alloc(disk.length);
    short.fill(7, 0, MIB);
    expect(readFileSync(pools.path('fast', uuid)).equals(short)).toBe(true);
  });
});

describe('deletion', () => {
  test.each(['pool_clean', 'destroy'] as const)('pool_patch.%s destroys the VDI there', async (call) => {
    const pools = await withPatch();
    const { patches } = pools.outer.served.pool;
    const [patch] = onlyPatch(pools);
    await (call === 'destroy' ? patches.destroy(patch) : patches.poolClean(patch));
    expect(pools.disks()).toEqual([]);
    expect(pools.inner.served.pool.database.all('VDI')).toEqual([]);
  });

  test('a second upload of the same patch replaces the first VDI', async () => {
    const pools = await withPatch('twice');
    const [, { uuid: first }] = onlyVdi(pools);
    expect(await upload(pools, await samplePatch('twice'))).toMatchObject({ exitCode: 0 });
    const [, { uuid: second }] = onlyVdi(pools);
    expect(second).not.toBe(first);
    expect(pools.disks()).toEqual([`${second}.raw`]);
  });
});

describe('VDIs of others', () => {
  /** One that somebody has made in the pool, and a copy that somebody has made of ours there. */
  async function withOthers() {
    const pools = await withPatch();
    const inner = pools.inner.served.pool;
    const sr = inner.database.getByUuid('SR', SRS.fast);
    const theirs = await inner.vdis.create({ sr, nameLabel: 'theirs', virtualSize: MIB });
    const [ours, { uuid }] = innerVdi(pools, onlyVdi(pools)[1].uuid);
    const copy = await inner.vdis.clone(ours);
    const foreign = [theirs, copy].map((ref) => inner.database.get('VDI', ref));
    // The copy says of itself what ours says.
    expect(foreign[1]?.other_config).toEqual(inner.database.get('VDI', ours).other_config);
    return { pools, ours: uuid, foreign: foreign.map((record) => record.uuid) };
  }

  test('are not listed, read, written, or destroyed', async () => {
    const { pools, ours, foreign } = await withOthers();
    const { pool } = pools.outer.served;
    const repository = pool.repositories.of(pool.database.getByUuid('SR', SRS.fast));
    expect(await repository.listVdis()).toEqual([ours]);
    const disks = pools.disks();
    for (const uuid of foreign) {
      expect((await refused(repository.destroyVdi(uuid))).code).toBe('OPERATION_NOT_ALLOWED');
      expect((await refused(repository.vdiFacts(uuid))).code).toBe('OPERATION_NOT_ALLOWED');
      const raw = { format: 'raw', contentLength: 4 } as const;
      expect((await refused(repository.importVdi(uuid, inChunks(Buffer.alloc(4)), raw))).code).toBe(
        'OPERATION_NOT_ALLOWED',
      );
    }
    expect(pools.disks()).toEqual(disks);
    // Sabotage: with the mark of its own it would be ours, and go.
    const [ref, record] = innerVdi(pools, foreign[1] ?? '');
    const config = { ...record.other_config, [SERVE_SELF_KEY]: record.uuid };
    await pools.inner.served.pool.database.change((draft) =>
      draft.update('VDI', ref, { other_config: config }),
    );
    await repository.destroyVdi(record.uuid);
    expect(pools.disks()).toHaveLength(disks.length - 1);
  });

  test('stay though a note on ours says that a task of ours has made them', async () => {
    const { pools, ours, foreign } = await withOthers();
    const { pool } = pools.outer.served;
    const somebody = await pools.inner.connect();
    const [theirs] = innerVdi(pools, foreign[0] ?? '');
    const task = await somebody.call('Async.VDI.clone', theirs, {});
    const status = () => somebody.call('task.get_status', String(task));
    await expect.poll(status).toBe('success');
    const disks = pools.disks();
    // A record whose copy was never made, as after a kill; where the notes are, others may write.
    const wanted = '12121212-1212-4212-8212-121212121212';
    const [original] = innerVdi(pools, ours);
    await somebody.call('VDI.add_to_other_config', original, `${SERVE_TASK_PREFIX}${wanted}`, String(task));
    const repository = pool.repositories.of(pool.database.getByUuid('SR', SRS.fast));
    const { code, message } = await refused(repository.destroyVdi(wanted));
    expect(code).toBe('OPERATION_NOT_ALLOWED');
    expect(message).toContain('no copy of ours');
    expect(pools.disks()).toEqual(disks);
  });

  test('stay when the server starts again, and when ours is destroyed', async () => {
    const { pools, ours, foreign } = await withOthers();
    await pools.outer.stop();
    await pools.outer.start();
    const { pool } = pools.outer.served;
    expect(pool.report).toMatchObject({ unfinishedVdis: [], lostVdis: [], unknownDisks: [], failures: [] });
    expect(onlyVdi(pools)[1].uuid).toBe(ours);
    await pool.vdis.destroy(onlyVdi(pools)[0]);
    expect(pools.disks().sort()).toEqual(foreign.map((uuid) => `${uuid}.raw`).sort());
  });

  test('one of ours whose mark somebody took away is let alone, and its record stays', async () => {
    const pools = await withPatch();
    const [ref, { uuid }] = innerVdi(pools, onlyVdi(pools)[1].uuid);
    await pools.inner.served.pool.database.change((draft) => draft.update('VDI', ref, { other_config: {} }));
    await pools.outer.stop();
    await pools.outer.start();
    const { report } = pools.outer.served.pool;
    expect(report.lostVdis).toEqual([]);
    expect(report.failures.join()).toContain('does not bear our mark');
    expect(onlyVdi(pools)[1].uuid).toBe(uuid);
    expect(pools.disks()).toEqual([`${uuid}.raw`]);
  });
});
