import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import {
  SR_UUIDS,
  filesOf,
  openAt,
  poolPlace,
  refused,
  samplePatch,
  srRef,
  testPool,
  upload,
} from '../pool/test-pool.js';

const NEW = { nameLabel: 'x', virtualSize: MIB };
const MARK = '.patch-vdi-sr.json';

/** What is left of a mount point whose server is gone: nothing below it can even be looked at. */
function breakFolder(folder: string): () => void {
  renameSync(folder, `${folder}.away`);
  symlinkSync(folder, folder);
  return () => {
    unlinkSync(folder);
    renameSync(`${folder}.away`, folder);
  };
}

test('an SR that cannot be read does not keep uploads out of the others', async () => {
  const { pool, place } = await testPool();
  breakFolder(place.sr('two'));
  const ref = await upload(pool, await samplePatch('a'));
  expect(pool.database.get('VDI', pool.database.get('pool_patch', ref).VDI).SR).toBe(srRef(pool, 'one'));
});

test('VDI.destroy of an SR that is out of reach is refused, and the VDI is one for ever', async () => {
  const { pool, place } = await testPool();
  const vdi = await pool.vdis.create({ sr: srRef(pool, 'two'), ...NEW });
  const mend = breakFolder(place.sr('two'));
  expect((await refused(pool.vdis.destroy(vdi))).code).toBe('SR_HAS_NO_PBDS');
  mend();
  await pool.vdis.copy(vdi, srRef(pool, 'one'));
  await pool.close();
  const again = await openAt(place);
  expect(again.report).toMatchObject({ unfinishedVdis: [], lostVdis: [] });
  expect(again.database.getAll('VDI')).toContain(vdi);
  await again.close();
});

test('a read-only SR: VDI.destroy fails and leaves the VDI; a start says what it could not remove', async (context) => {
  requireRoot(context);
  await withSmallDisk(64 * MIB, async (disk) => {
    const remount = (mode: 'ro' | 'rw'): void =>
      expect(runJudge('mount', ['-o', `remount,${mode}`, disk]).exitCode).toBe(0);
    const folder = join(disk, 'sr');
    const plain = poolPlace(join(temporaryFolder(), 'p'));
    const place = { ...plain, sr: (sr: keyof typeof SR_UUIDS) => (sr === 'one' ? folder : plain.sr(sr)) };
    const pool = await openAt(place);
    const kept = await pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW });
    const dead = await pool.vdis.begin({ sr: srRef(pool, 'one'), ...NEW });
    await dead.repository.createVdi({ uuid: dead.uuid, ...NEW });
    remount('ro');
    await expect(pool.vdis.destroy(kept)).rejects.toThrow('the output could not be written');
    await (await pool.vdis.export(kept, 'raw')).close();
    await pool.close();
    const readOnly = await openAt(place);
    expect(readOnly.report.unfinishedVdis).toEqual([]);
    expect(readOnly.report.failures).toEqual([
      expect.stringMatching(new RegExp(`^VDI ${dead.uuid}: .*EROFS`)),
    ]);
    expect([...readOnly.database.getAll('VDI')].sort()).toEqual([kept, dead.ref].sort());
    await readOnly.close();
    remount('rw');
    const again = await openAt(place);
    expect(again.report).toMatchObject({ unfinishedVdis: [dead.uuid], failures: [] });
    expect(filesOf(place)).toHaveLength(1);
    await again.close();
  });
});

test('a FIFO in the place of the mark is none, and keeps nobody waiting', async (context) => {
  requireTool(context, 'mkfifo');
  const { pool, place } = await testPool();
  const mark = join(place.sr('two'), MARK);
  rmSync(mark);
  expect(runJudge('mkfifo', [mark]).exitCode).toBe(0);
  await upload(pool, await samplePatch('a'));
  expect((await refused(pool.vdis.create({ sr: srRef(pool, 'two'), ...NEW }))).code).toBe('SR_HAS_NO_PBDS');
});

test('a disk that became a link, a FIFO or a folder is no disk: nothing of it is read', async (context) => {
  requireTool(context, 'mkfifo');
  const { pool, place } = await testPool();
  const secret = join(place.folder, 'secret');
  writeFileSync(secret, Buffer.alloc(512, 'secret'));
  const makers: readonly ((path: string) => void)[] = [
    (path) => symlinkSync(secret, path),
    (path) => symlinkSync(path, path),
    (path) => symlinkSync(`${path}.nothing`, path),
    (path) => void runJudge('mkfifo', [path]),
    (path) => mkdirSync(path),
  ];
  for (const make of makers) {
    const vdi = await pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW });
    const path = join(place.sr('one'), `${pool.database.get('VDI', vdi).uuid}.raw`);
    rmSync(path);
    make(path);
    expect((await refused(pool.vdis.export(vdi, 'raw'))).code).toBe('VDI_MISSING');
    expect((await refused(pool.vdis.copy(vdi, srRef(pool, 'two')))).code).toBe('VDI_MISSING');
    await pool.repositories.refreshUsage(srRef(pool, 'one'));
  }
  await pool.close();
  // They are somebody's, perhaps: a start takes none of them away.
  const again = await openAt(place);
  expect([again.report.lostVdis, again.database.getAll('VDI').length]).toEqual([[], makers.length]);
  expect(readdirSync(place.sr('one'))).toHaveLength(makers.length + 1);
  await again.close();
});
