/* An SR of a slave against one of the master: the same calls on both, compared; and what goes over the wire. */
import { createHash } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { Ref } from '../../../src/pool/fields.js';
import { GIB, MIB } from '../../../src/units.js';
import { requireTool } from '../../oracles/require-tool.js';
import { runJudge } from '../../oracles/run-judge.js';
import { inChunks, refused } from '../../pool/test-pool.js';
import { MASTER_SR, SLAVE_SR, poolOfTwo, until, type MasterHere } from './pool-of-two.js';

beforeEach((context) => requireTool(context, 'qemu-img', 'cmp'));

/** Not all of it is zeros, nor of one kind. */
function content(bytes: number): Buffer {
  const disk = Buffer.alloc(bytes);
  for (let at = 0, seed = 1; at < bytes; at += 777_777, seed += 1) {
    const block = createHash('sha512').update(String(seed)).digest();
    for (let turn = 0; turn < 300 && at + (turn + 1) * 64 <= bytes; turn += 1)
      disk.set(block, at + turn * 64);
  }
  return disk;
}

async function digestOf({ pool }: MasterHere, vdi: Ref, format: 'raw' | 'vhd'): Promise<string> {
  const exported = await pool.vdis.export(vdi, format);
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const chunk of exported.stream()) {
    digest.update(chunk);
    bytes += chunk.length;
  }
  await exported.close();
  expect(bytes).toBe(exported.lengthBytes);
  return digest.digest('hex');
}

test('raw and VHD go into it and come out of it as they went in', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool } = master;
  const sr = pool.database.getByUuid('SR', SLAVE_SR);
  const virtualSize = 12 * MIB;
  const disk = content(virtualSize);
  const expected = createHash('sha256').update(disk).digest('hex');
  const vdi = await pool.vdis.create({ sr, nameLabel: 'raw', virtualSize });
  const raw = { format: 'raw', contentLength: disk.length } as const;
  await pool.vdis.import(vdi, inChunks(disk), raw);
  expect(await digestOf(master, vdi, 'raw')).toBe(expected);
  const path = join(slave.folder, `${pool.database.get('VDI', vdi).uuid}.raw`);
  // Zeros are not stored there either.
  expect(statSync(path).blocks * 512).toBeLessThan(virtualSize / 4);
  const exported = await pool.vdis.export(vdi, 'vhd');
  const parts: Uint8Array[] = [];
  for await (const chunk of exported.stream()) parts.push(chunk);
  await exported.close();
  const vhd = Buffer.concat(parts);
  const vhdPath = join(master.folder, 'exported.vhd');
  writeFileSync(vhdPath, vhd);
  expect(runJudge('qemu-img', ['compare', '-f', 'vpc', '-F', 'raw', vhdPath, path]).exitCode).toBe(0);
  const again = await pool.vdis.create({ sr, nameLabel: 'vhd', virtualSize });
  await pool.vdis.import(again, inChunks(vhd), { format: 'vhd', contentLength: vhd.length });
  expect(await digestOf(master, again, 'raw')).toBe(expected);
  expect(pool.repositories.of(sr).scratchFolder).toBeUndefined();
  expect((await refused(pool.repositories.of(sr).openVdiForWriting('x'))).code).toBe('SR_HAS_NO_PBDS');
});

test('a stream that breaks off leaves the old content', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool } = master;
  const sr = pool.database.getByUuid('SR', SLAVE_SR);
  const disk = content(4 * MIB);
  const vdi = await pool.vdis.create({ sr, nameLabel: 'old', virtualSize: disk.length });
  await pool.vdis.import(vdi, inChunks(disk), { format: 'raw', contentLength: disk.length });
  const before = await digestOf(master, vdi, 'raw');
  async function* broken() {
    yield* inChunks(Buffer.alloc(2 * MIB, 7));
    throw new Error('the client went away');
  }
  const half = { format: 'raw', contentLength: disk.length } as const;
  await expect(pool.vdis.import(vdi, broken(), half)).rejects.toThrow('the client went away');
  const short = inChunks(Buffer.alloc(MIB, 7));
  await expect(pool.vdis.import(vdi, short, half)).rejects.toMatchObject({ code: 'VDI_IO_ERROR' });
  expect(await digestOf(master, vdi, 'raw')).toBe(before);
  const isClean = (): boolean => readdirSync(slave.folder).length === 2;
  await until(isClean);
});

test('errors of the SR are those of the SR', async () => {
  const { master } = await poolOfTwo();
  const { pool } = master;
  const sr = pool.database.getByUuid('SR', SLAVE_SR);
  expect((await refused(pool.vdis.create({ sr, nameLabel: '', virtualSize: 3 * GIB }))).code).toBe('SR_FULL');
  const repository = pool.repositories.of(sr);
  const missing = '88888888-8888-4888-8888-888888888888';
  expect((await refused(repository.vdiFacts(missing))).code).toBe('VDI_MISSING');
  expect((await refused(repository.destroyVdi(missing))).code).toBe('VDI_MISSING');
  // What comes after its end does not bring it back.
  const late = { uuid: missing, nameLabel: '', virtualSize: 512 };
  expect((await refused(repository.createVdi(late))).code).toBe('VDI_MISSING');
  expect(pool.database.all('VDI')).toHaveLength(0);
  expect((await repository.usage()).virtualAllocation).toBe(0);
});

test('of a disk of 256 MiB with 1 MiB in it, 1 MiB travels', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool } = master;
  const [local, remote] = [MASTER_SR, SLAVE_SR].map((uuid) => pool.database.getByUuid('SR', uuid));
  const vdi = await pool.vdis.create({ sr: local ?? '', nameLabel: 'sparse', virtualSize: 256 * MIB });
  async function* runs() {
    await Promise.resolve();
    yield { offset: 70 * MIB, bytes: Buffer.alloc(MIB, 3) };
  }
  await pool.repositories.of(local ?? '').fillVdi(pool.database.get('VDI', vdi).uuid, runs());
  const there = await pool.vdis.copy(vdi, remote ?? '');
  const back = await pool.vdis.copy(there, local ?? '');
  const paths = [vdi, back].map((ref) =>
    join(master.folder, 'master', `${pool.database.get('VDI', ref).uuid}.raw`),
  );
  expect(runJudge('cmp', paths).exitCode).toBe(0);
  await until(() => slave.lines.some(({ path, method }) => path === '/internal/disk' && method === 'GET'));
  const moved = slave.lines.filter(({ path }) => path === '/internal/disk');
  for (const { bytesIn, bytesOut } of moved) {
    expect(Number(bytesIn) + Number(bytesOut)).toBeLessThan(MIB + 4096);
  }
});

test('a copy that is cancelled leaves nothing on the other host', async () => {
  const { master, slave } = await poolOfTwo();
  const { pool } = master;
  const [local, remote] = [MASTER_SR, SLAVE_SR].map((uuid) => pool.database.getByUuid('SR', uuid));
  const disk = Buffer.alloc(64 * MIB, 5);
  const vdi = await pool.vdis.create({ sr: local ?? '', nameLabel: 'much', virtualSize: disk.length });
  await pool.vdis.import(vdi, inChunks(disk), { format: 'raw', contentLength: disk.length });
  const task = await pool.tasks.create('copy');
  const copy = refused(pool.vdis.copy(vdi, remote ?? '', { task }));
  await until(() => (pool.database.find('task', task)?.progress ?? 0) > 0);
  await pool.tasks.cancel(task);
  expect((await copy).code).toBe('TASK_CANCELLED');
  expect(pool.database.all('VDI')).toHaveLength(1);
  await until(() => readdirSync(slave.folder).join() === '.patch-vdi-sr.json');
});
