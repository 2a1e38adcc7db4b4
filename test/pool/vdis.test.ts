import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { sha256, filesOf, inChunks, refused, srRef, testPool, SR_UUIDS } from './test-pool.js';
import { runJudge } from '../oracles/run-judge.js';
import { requireTool } from '../oracles/require-tool.js';
import { NULL_REF } from '../../src/pool/fields.js';
import type { Pool } from '../../src/pool/open-pool.js';

const NEW = { nameLabel: 'disk', virtualSize: 9 * MIB };

/** Data at both ends, at a block's edge, and holes between. 9 MiB: the last VHD block is only half a one. */
function sampleDisk(): Buffer {
  const disk = Buffer.alloc(NEW.virtualSize);
  disk.fill(0x11, 0, 700);
  disk.fill(0x22, 2 * MIB - 5, 2 * MIB + 5);
  disk.fill(0x33, 6 * MIB + 512, 6 * MIB + 1024);
  disk.fill(0x44, NEW.virtualSize - 3);
  return disk;
}

async function filledVdi(pool: Pool, disk: Buffer): Promise<string> {
  const ref = await pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW });
  await pool.vdis.import(ref, inChunks(disk), { format: 'raw', contentLength: disk.length });
  return ref;
}

async function exported(pool: Pool, ref: string, format: 'raw' | 'vhd'): Promise<Buffer> {
  const opened = await pool.vdis.export(ref, format);
  try {
    const parts: Uint8Array[] = [];
    for await (const part of opened.stream()) parts.push(part);
    const bytes = Buffer.concat(parts);
    expect(bytes.length).toBe(opened.lengthBytes);
    return bytes;
  } finally {
    await opened.close();
  }
}

test('VDI.create makes a sparse disk of zeros; VDI.destroy removes disk and record', async () => {
  const { pool, place } = await testPool();
  const ref = await pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW });
  const { uuid } = pool.database.get('VDI', ref);
  const stats = statSync(join(place.sr('one'), `${uuid}.raw`));
  expect([stats.size, stats.blocks]).toEqual([NEW.virtualSize, 0]);
  expect(pool.database.get('SR', srRef(pool, 'one'))).toMatchObject({
    VDIs: [ref],
    virtual_allocation: NEW.virtualSize,
  });
  await pool.vdis.destroy(ref);
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
  expect((await refused(pool.vdis.destroy(ref))).description).toEqual(['HANDLE_INVALID', 'VDI', ref]);
});

test('VDI.create beyond what is free: SR_FULL with both numbers, and nothing is left', async () => {
  const { pool, place } = await testPool({ quotaBytes: 8 * MIB });
  const error = await refused(pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW }));
  expect(error.code).toBe('SR_FULL');
  expect(error.parameters[0]).toBe(String(NEW.virtualSize));
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
});

test('VDI.copy brings the bytes into another SR, sparse, and the task to success', async () => {
  const { pool, place } = await testPool();
  const disk = sampleDisk();
  const ref = await filledVdi(pool, disk);
  const task = await pool.tasks.create('copy');
  const copy = await pool.vdis.copy(ref, srRef(pool, 'two'), { task });
  const { uuid, SR, name_label } = pool.database.get('VDI', copy);
  expect([SR, name_label]).toEqual([srRef(pool, 'two'), 'disk']);
  const path = join(place.sr('two'), `${uuid}.raw`);
  expect(readFileSync(path).equals(disk)).toBe(true);
  expect(statSync(path).blocks * 512).toBeLessThan(MIB);
  expect(pool.database.getRecord('task', task)).toMatchObject({
    status: 'success',
    result: `<value>${copy}</value>`,
  });
});

test('VDI.clone is a disk of its own', async () => {
  const { pool } = await testPool();
  const disk = sampleDisk();
  const ref = await filledVdi(pool, disk);
  const clone = await pool.vdis.clone(ref);
  await pool.vdis.import(ref, inChunks(Buffer.alloc(100, 7)), { format: 'raw', contentLength: 100 });
  expect((await exported(pool, clone, 'raw')).equals(disk)).toBe(true);
  await pool.vdis.destroy(ref);
  expect((await exported(pool, clone, 'raw')).equals(disk)).toBe(true);
});

test('a copy that is cancelled, and one that finds no room, leave nothing', async () => {
  const { pool, place } = await testPool({ quotaBytes: 14 * MIB });
  const ref = await filledVdi(pool, sampleDisk());
  const task = await pool.tasks.create('copy');
  await pool.tasks.cancel(task);
  const cancelled = await refused(pool.vdis.copy(ref, srRef(pool, 'two'), { task }));
  expect(cancelled.description).toEqual(['TASK_CANCELLED', task]);
  await pool.vdis.create({ sr: srRef(pool, 'two'), ...NEW });
  const full = await refused(pool.vdis.copy(ref, srRef(pool, 'two')));
  expect(full.code).toBe('SR_FULL');
  expect([filesOf(place).length, pool.database.getAll('VDI').length]).toEqual([2, 2]);
});

test('an exported VHD is right for qemu-img, holds only what is there, and comes back as it was', async (context) => {
  requireTool(context, 'qemu-img');
  const { pool, place } = await testPool();
  const disk = sampleDisk();
  const ref = await filledVdi(pool, disk);
  const vhd = await exported(pool, ref, 'vhd');
  // Blocks 0, 1 (twice), 3 and 4.
  expect(vhd.length).toBeLessThan(4 * (2 * MIB + 4096) + 8192);
  const path = join(place.folder, 'disk.vhd');
  writeFileSync(path, vhd);
  const raw = join(place.folder, 'disk.raw');
  const converted = runJudge('qemu-img', ['convert', '-f', 'vpc', '-O', 'raw', path, raw]);
  expect(converted.exitCode, converted.stderr).toBe(0);
  expect(sha256(readFileSync(raw))).toBe(sha256(disk));
  const back = await pool.vdis.create({ sr: srRef(pool, 'two'), ...NEW });
  await pool.vdis.import(back, inChunks(vhd), { format: 'vhd', contentLength: vhd.length });
  expect((await exported(pool, back, 'raw')).equals(disk)).toBe(true);
});

test('a VHD of qemu-img is imported', async (context) => {
  requireTool(context, 'qemu-img');
  const { pool, place } = await testPool();
  const raw = join(place.folder, 'in.raw');
  const vhd = join(place.folder, 'in.vhd');
  writeFileSync(raw, sampleDisk());
  const made = runJudge('qemu-img', ['convert', '-O', 'vpc', '-o', 'force_size=on', raw, vhd]);
  expect(made.exitCode, made.stderr).toBe(0);
  const bytes = readFileSync(vhd);
  const ref = await pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW });
  await pool.vdis.import(ref, inChunks(bytes), { format: 'vhd', contentLength: undefined });
  expect((await exported(pool, ref, 'raw')).equals(sampleDisk())).toBe(true);
});

test.for([
  ['a raw stream that is longer than the disk', 'raw', Buffer.alloc(NEW.virtualSize + 1), undefined],
  ['an announced length beyond the disk', 'raw', Buffer.alloc(10), NEW.virtualSize + 1],
  ['a stream that is shorter than announced', 'raw', Buffer.alloc(10, 1), 11],
  ['no VHD', 'vhd', Buffer.alloc(4096, 1), 4096],
] as const)('the import of %s fails, and the disk is as before', async ([, format, bytes, contentLength]) => {
  const { pool, place } = await testPool();
  const disk = sampleDisk();
  const ref = await filledVdi(pool, disk);
  const error = await refused(pool.vdis.import(ref, inChunks(bytes), { format, contentLength }));
  expect(error.description).toEqual(['VDI_IO_ERROR', 'Device I/O errors']);
  expect((await exported(pool, ref, 'raw')).equals(disk)).toBe(true);
  expect(filesOf(place)).toHaveLength(1);
});

test('a VDI that is being written cannot be destroyed: OTHER_OPERATION_IN_PROGRESS', async () => {
  const { pool, place } = await testPool();
  const ref = await pool.vdis.create({ sr: srRef(pool, 'one'), ...NEW });
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(10, 1);
    const error = await refused(pool.vdis.destroy(ref));
    expect(error.description).toEqual(['OTHER_OPERATION_IN_PROGRESS', 'VDI', ref]);
    yield Buffer.alloc(10, 2);
  })();
  await pool.vdis.import(ref, source, { format: 'raw', contentLength: 20 });
  await pool.vdis.destroy(ref);
  expect(filesOf(place)).toEqual([]);
});

test('a disk whose last bytes are a VHD footer is still raw', async () => {
  const { pool } = await testPool();
  const disk = sampleDisk();
  disk.write('conectix', disk.length - 512);
  const ref = await filledVdi(pool, disk);
  const { repository, record } = pool.vdis.ready(ref);
  const image = await repository.openVdi(record.uuid);
  expect([image.format, image.virtualSize]).toEqual(['raw', disk.length]);
  await image.close();
});

test('a repository takes no name but a UUID, and says VDI_MISSING', async () => {
  const { pool } = await testPool();
  const repository = pool.repositories.of(srRef(pool, 'one'));
  for (const name of ['../../etc/passwd', '', NULL_REF, '11111111-1111-4111-8111-111111111119']) {
    const error = await refused(repository.openVdi(name));
    expect(error.description).toEqual(['VDI_MISSING', SR_UUIDS.one, name]);
  }
});
