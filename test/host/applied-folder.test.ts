import { mkdirSync, readdirSync, readFileSync, rmdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { AppliedFolder, unfinishedApplies } from '../../src/host/applied-folder.js';
import { isAlive, ownLife } from '../../src/host/process-life.js';
import { sweepWorkFolders, makeWorkFolder } from '../../src/host/work-folder.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const UUID = '0d8a2f0c-6c3e-4a53-9f0e-5d5c1a7b9e11';
const MARKER = `.patch-vdi-began-${UUID}`;

/** `PID.TICKS` of a process that has ended. */
const DEAD = '1.999999999999';

async function opened(): Promise<{ folder: string; applied: AppliedFolder }> {
  const folder = join(temporaryFolder(), 'a', 'b');
  return { folder, applied: await AppliedFolder.open(folder) };
}

test('fresh, begun, kept, ended: what the folder holds at each step', async () => {
  const { folder, applied } = await opened();
  expect([await applied.state(UUID), readdirSync(folder)]).toEqual([{ kind: 'fresh' }, []]);
  expect(await applied.begin(UUID)).toBe(true);
  expect([await applied.state(UUID), readdirSync(folder)]).toEqual([{ kind: 'running' }, [MARKER]]);
  expect(await applied.begin(UUID)).toBe(false);
  await applied.keep(UUID, '<info/>\n');
  expect(readdirSync(folder).sort()).toEqual([MARKER, UUID]);
  await applied.end(UUID);
  expect([await applied.state(UUID), readdirSync(folder)]).toEqual([{ kind: 'applied' }, [UUID]]);
  expect(readFileSync(join(folder, UUID), 'utf8')).toBe('<info/>\n');
});

test('left before its end: unfinished while the process lives on, since it began, and newer than an earlier record', async () => {
  const { folder, applied } = await opened();
  await applied.keep(UUID, '<info/>\n');
  utimesSync(join(folder, UUID), 1, 1);
  await applied.begin(UUID);
  const [, beganAt] = readFileSync(join(folder, MARKER), 'utf8').trim().split(' ');
  await applied.leave(UUID);
  expect(await applied.state(UUID)).toEqual({ kind: 'unfinished', beganAt });
  expect(readdirSync(folder).sort()).toEqual([MARKER, UUID]);
  expect(await applied.begin(UUID)).toBe(true);
  await applied.end(UUID);
  expect(await applied.state(UUID)).toEqual({ kind: 'applied' });
});

test('a marker of a dead process: begun and not ended, unless the record is newer', async () => {
  const { folder, applied } = await opened();
  writeFileSync(join(folder, MARKER), `${DEAD} 2026-11-21T18:16:00.000Z\n`);
  const unfinished = { kind: 'unfinished', beganAt: '2026-11-21T18:16:00.000Z' };
  expect(await applied.state(UUID)).toEqual(unfinished);
  expect(await unfinishedApplies(folder)).toEqual([{ uuid: UUID, beganAt: '2026-11-21T18:16:00.000Z' }]);
  writeFileSync(join(folder, UUID), '<info/>\n');
  expect(await applied.state(UUID)).toEqual({ kind: 'applied' });
  expect(await unfinishedApplies(folder)).toEqual([]);
  // An older record is of an earlier apply.
  utimesSync(join(folder, UUID), 1, 1);
  expect(await applied.state(UUID)).toEqual(unfinished);
  expect(await applied.begin(UUID)).toBe(true);
  expect(await applied.state(UUID)).toEqual({ kind: 'running' });
});

test.for(['', 'garbage', `${DEAD}`, '999999999999999999999.1 x\n', 'x'.repeat(100_000)])(
  'a marker that nobody can read (%#) counts as one that was begun',
  async (text) => {
    const { folder, applied } = await opened();
    writeFileSync(join(folder, MARKER), text);
    expect(await applied.state(UUID)).toMatchObject({ kind: 'unfinished' });
  },
);

test('what else lies there is nobody else', async () => {
  const { folder } = await opened();
  for (const name of ['README', '.patch-vdi-began-../../x'.replaceAll('/', '_'), '.patch-vdi-began-']) {
    writeFileSync(join(folder, name), '');
  }
  expect(await unfinishedApplies(folder)).toEqual([]);
  expect(await unfinishedApplies(join(folder, 'no'))).toEqual([]);
  await expect(AppliedFolder.open(join(folder, 'README'))).rejects.toMatchObject({ kind: 'usage' });
});

test('a process lives as long as it lives, whoever has its number later', async () => {
  const own = ownLife() ?? '';
  expect(own).toMatch(new RegExp(String.raw`^${process.pid}\.\d+$`));
  expect(isAlive(own)).toBe(true);
  expect([isAlive(`${process.pid}.1`), isAlive(DEAD), isAlive('x')]).toEqual([false, false, false]);
  const child = spawn('sleep', ['300']);
  const life = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(' ');
  expect(isAlive(`${child.pid}.${life[21]}`)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isAlive(`${child.pid}.${life[21]}`)).toBe(false);
});

test('a work folder is swept when its process is dead, and only then', async () => {
  const scratch = temporaryFolder();
  const ours = await makeWorkFolder(scratch);
  mkdirSync(join(scratch, `patch-vdi-apply-${DEAD}-abcdef`, 'mnt'), { recursive: true });
  mkdirSync(join(scratch, `patch-vdi-apply-${DEAD}-abcdef0`));
  mkdirSync(join(scratch, `x-patch-vdi-apply-${DEAD}-abcdef`));
  writeFileSync(join(scratch, `patch-vdi-apply-${DEAD}-ABCDEF`), 'a file');
  expect(await sweepWorkFolders(scratch)).toEqual([join(scratch, `patch-vdi-apply-${DEAD}-abcdef`)]);
  expect(readdirSync(scratch)).toHaveLength(4);
  expect(readdirSync(ours)).toEqual(['mnt']);
});

test('a marker that cannot be removed is an error, and no wait without an end', async () => {
  const { folder, applied } = await opened();
  mkdirSync(join(folder, MARKER));
  await expect(applied.begin(UUID)).rejects.toMatchObject({
    kind: 'sink',
    context: { path: join(folder, MARKER) },
  });
  expect(readdirSync(folder)).toEqual([MARKER]);
});

test('what cannot be kept is an error, leaves no half of it, and the patch stays one that was begun', async () => {
  const { folder, applied } = await opened();
  await applied.begin(UUID);
  mkdirSync(join(folder, UUID));
  await expect(applied.keep(UUID, '<info/>\n')).rejects.toMatchObject({ kind: 'sink' });
  expect(readdirSync(folder).sort()).toEqual([MARKER, UUID]);
  rmdirSync(join(folder, UUID));
  await applied.leave(UUID);
  expect(await applied.state(UUID)).toMatchObject({ kind: 'unfinished' });
});

test('a folder that has gone: nothing is begun', async () => {
  const { folder, applied } = await opened();
  rmdirSync(folder);
  await expect(applied.begin(UUID)).rejects.toMatchObject({ kind: 'sink' });
  expect(await unfinishedApplies(folder)).toEqual([]);
});
