import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import {
  SR_UUIDS,
  download,
  filesOf,
  oldPatch,
  openAt,
  refused,
  samplePatch,
  sha256,
  srRef,
  testPool,
  upload,
} from './test-pool.js';

const NEW = { nameLabel: 'x', virtualSize: MIB };

test('what a dead upload left is removed and listed', async () => {
  const { pool, place } = await testPool();
  const sr = srRef(pool, 'one');
  // As a process that was killed leaves it: the record, a disk, what is beside it, temporary files, a task.
  const vdi = await pool.vdis.begin({ sr, ...NEW });
  await vdi.repository.createVdi({ uuid: vdi.uuid, ...NEW });
  const task = await pool.tasks.create('upload');
  writeFileSync(join(place.sr('one'), `.${vdi.uuid}.raw.patch-vdi-0-1-0.tmp`), 'x');
  mkdirSync(join(place.sr('one'), `.${vdi.uuid}.info.tmp`));
  writeFileSync(join(place.sr('one'), `.${vdi.uuid}.info.tmp`, 'patch'), 'x');
  mkdirSync(join(place.state, 'tmp', 'patch-vdi-gpgv-x'));
  await pool.close();
  const again = await openAt(place);
  expect(again.report).toMatchObject({
    unfinishedVdis: [vdi.uuid],
    lostVdis: [],
    patches: [],
    tasks: [again.database.get('task', task).uuid],
    unknownDisks: [],
  });
  expect([...again.report.remains].sort()).toEqual([
    `.${vdi.uuid}.info.tmp`,
    `.${vdi.uuid}.raw.patch-vdi-0-1-0.tmp`,
  ]);
  expect([filesOf(place), again.database.getAll('VDI')]).toEqual([[], []]);
  expect(again.database.get('task', task).status).toBe('failure');
  await again.close();
});

test('a VDI that was being destroyed, and a disk that somebody removed: their records go', async () => {
  const { pool, place } = await testPool();
  const sr = srRef(pool, 'one');
  const [dying, lost, kept] = [
    await pool.vdis.create({ sr, ...NEW }),
    await pool.vdis.create({ sr, ...NEW }),
    await pool.vdis.create({ sr, ...NEW }),
  ];
  const uuids = [dying, lost, kept].map((ref) => pool.database.get('VDI', ref).uuid);
  await pool.database.change((draft) => draft.update('VDI', dying, { state: 'destroying' }));
  rmSync(join(place.sr('one'), `${uuids[1]}.raw`));
  await pool.close();
  const again = await openAt(place);
  expect(again.report).toMatchObject({ unfinishedVdis: [uuids[0]], lostVdis: [uuids[1]] });
  expect(again.database.getAll('VDI')).toEqual([kept]);
  expect(filesOf(place)).toEqual([`one/${uuids[2]}.raw`]);
  await again.close();
});

test('an SR that is not mounted is not taken for one that has lost its disks', async () => {
  const { pool, place } = await testPool();
  const patch = await samplePatch('a');
  const ref = await upload(pool, patch);
  await pool.close();
  renameSync(place.sr('one'), `${place.sr('one')}.away`);
  const { FolderRepository } = await import('../../src/pool/folder-repository.js');
  const now = (): number => 0;
  const capabilities = new Set<string>();
  const repository = FolderRepository.open({
    path: place.sr('one'),
    uuid: SR_UUIDS.one,
    nameLabel: 'x',
    capabilities,
    now,
  });
  // The mount point alone, with something foreign in it.
  mkdirSync(place.sr('one'));
  const without = await (
    await import('../../src/pool/open-pool.js')
  ).openPool({
    stateFolder: place.state,
    repositories: [repository],
    policy: { keyrings: [place.keyring] },
    environment: { searchPath: [] },
    hostName: 'h',
    address: '',
    now,
    newUuid: () => crypto.randomUUID(),
  });
  expect(without.report).toMatchObject({ unreachableSrs: [SR_UUIDS.one], lostVdis: [], patches: [] });
  expect(without.database.find('pool_patch', ref)).toBeDefined();
  expect((await refused(without.patches.download(patch.uuid))).code).toBe('CANNOT_FETCH_PATCH');
  const pbds = without.database.all('PBD').map(([, { currently_attached }]) => currently_attached);
  expect(pbds).toEqual([false, false]);
  await without.close();
  rmSync(place.sr('one'), { recursive: true });
  renameSync(`${place.sr('one')}.away`, place.sr('one'));
  const again = await openAt(place);
  expect(sha256(await download(again, patch.uuid))).toBe(patch.sha256);
  await again.close();
});

test('a disk that the pool does not know is left alone and named', async () => {
  const { pool, place } = await testPool();
  const uuid = '33333333-3333-4333-8333-333333333333';
  const ours = join(place.sr('one'), `${uuid}.raw`);
  writeFileSync(ours, 'somebody put it here');
  writeFileSync(join(place.sr('one'), `.${uuid}.raw.other.tmp`), 'x');
  writeFileSync(join(place.sr('one'), 'README'), 'x');
  await pool.close();
  const again = await openAt(place);
  expect(again.report.unknownDisks).toEqual([uuid]);
  expect(readdirSync(place.sr('one'))).toEqual(
    expect.arrayContaining([`${uuid}.raw`, 'README', `.${uuid}.raw.other.tmp`]),
  );
  await again.close();
});

test('killed between the record of a second upload and the removal of the first: the next start ends it', async () => {
  const { pool, place } = await testPool();
  const patch = await samplePatch('a');
  const { ref, path } = await oldPatch(pool, patch);
  await pool.database.change((draft) =>
    draft.update('pool_patch', ref, { filename: '', replaced_filename: path }),
  );
  await pool.close();
  const again = await openAt(place);
  expect(existsSync(path)).toBe(false);
  expect(again.report.patches).toEqual([patch.uuid]);
  await again.close();
});

test('two processes cannot have one state folder; one that was killed does not stand in the way', async () => {
  const { pool, place } = await testPool();
  await expect(openAt(place)).rejects.toMatchObject({ kind: 'usage', message: 'the state folder is in use' });
  await pool.close();
  // A socket that nobody listens to any more.
  const { createServer } = await import('node:net');
  const server = createServer();
  const lock = join(place.state, 'lock');
  await new Promise<void>((resolve) => server.listen(`${lock}.x`, resolve));
  renameSync(`${lock}.x`, lock);
  await new Promise((resolve) => server.close(resolve));
  expect(existsSync(lock)).toBe(true);
  await (await openAt(place)).close();
});

test('a folder of another SR is refused', async () => {
  const { place, pool } = await testPool();
  await pool.close();
  rmSync(place.sr('one'), { recursive: true });
  renameSync(place.sr('two'), place.sr('one'));
  await expect(openAt(place)).rejects.toMatchObject({ kind: 'usage', message: /belongs to another/ });
});
