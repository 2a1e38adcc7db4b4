/*
 * Builds on a used disk that fail, or are killed. Until the first byte of the upload is there the disk is what it was;
 * afterwards nobody gets in, neither by the new superblock nor by any of the old ones. And if the old file system can
 * still be mounted, then because it is whole.
 */
import { readFileSync, truncateSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { attachLoop, detachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool } from '../oracles/require-tool.js';
import { createSparse, flipByte, readAt } from '../oracles/sample-image.js';
import { mustBuild, runCli, startCli } from './cli.js';
import {
  OLD_FILESYSTEMS,
  WAYS_TO_CLEAR,
  copyDisk,
  environmentFor,
  makeOldDisk,
  withoutFallocate,
  type OldDisk,
} from './devices.js';
import { feed, pieces, startFed } from './feeding.js';
import { expectPatchOnDevice } from './judges/device-disk.js';
import { isWhole, waysIn } from './judges/old-disk.js';
import { requireImageJudges } from './judges/patch-disk.js';
import { MIB, uploadBytes } from './uploads.js';
import { FIXED } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => {
  requireImageJudges(context);
  requireLoopDevices(context);
  requireTool(context, 'mke2fs', 'dumpe2fs', 'fallocate');
});

const UPLOAD_BYTES = 5 * MIB + 3;
const VIRTUAL_SIZE = 22 * MIB;

function optionsOf(what: string): readonly string[] {
  const found = OLD_FILESYSTEMS.find(([name]) => name === what)?.[1];
  if (found === undefined) throw new Error(`there is no old file system "${what}"`);
  return found;
}

const WITH_MANY_BACKUPS = optionsOf('ext2, 2 KiB blocks, a backup in every group');

interface Bench {
  readonly work: Workspace;
  readonly old: OldDisk;
  readonly device: string;
  readonly upload: string;
}

function setUp(options: readonly string[] = WITH_MANY_BACKUPS): Bench {
  const work = workspace();
  const old = makeOldDisk(work, options);
  return { work, old, device: attachLoop(old.file), upload: work.input('upload', uploadBytes(UPLOAD_BYTES)) };
}

test('the judge of old disks can fail: one byte of the file, one of the superblock', async () => {
  for (const damage of [
    ({ file, content }: OldDisk) => flipByte(file, readFileSync(file).indexOf(content.subarray(0, 4096))),
    ({ file }: OldDisk) => flipByte(file, 1024 + 0x38),
  ]) {
    const { old, device } = setUp();
    expect(await isWhole(device, old)).toBe(true);
    detachLoop(device);
    damage(old);
    expect(await isWhole(attachLoop(old.file), old)).toBe(false);
  }
});

const DESTROYED = /the old contents of \/dev\/loop\d+ are destroyed, nothing mountable/;

const FAILURES: readonly (readonly [string, number, (bench: Bench) => Parameters<typeof runCli>[1]])[] = [
  ['another digest', 3, ({ upload, device }) => [upload, '-o', device, '--allow-sha256', '0'.repeat(64)]],
  [
    'an upload that is too short',
    4,
    ({ device }) => ['-', '-o', device, '--allow-unsigned', '--content-length', String(UPLOAD_BYTES + 1)],
  ],
  [
    'an upload that is too long',
    4,
    ({ device }) => ['-', '-o', device, '--allow-unsigned', '--content-length', String(UPLOAD_BYTES - MIB)],
  ],
];

const CASES = FAILURES.flatMap(([what, exitCode, args]) =>
  WAYS_TO_CLEAR.map((way) => [what, way, exitCode, args] as const),
);
test.for(CASES)('%s, %s: nobody gets in', async ([, way, exitCode, args]) => {
  const all = setUp();
  const { work, old, device, upload } = all;
  const ended = await runCli(work, ['build', ...args(all)], {
    stdin: { path: upload, through: 'pipe' },
    env: environmentFor(work, way),
  });
  expect(ended.exitCode, ended.stderr).toBe(exitCode);
  expect(ended.stderr.replaceAll(/\s+/g, ' ')).toMatch(DESTROYED);
  expect(await waysIn(device, old)).toEqual([]);
  // And the next build is none the worse for it.
  await mustBuild(work, [upload, '-o', device, '--allow-unsigned']);
  await expectPatchOnDevice(work, device, upload, VIRTUAL_SIZE);
});

test('an upload without a length that outgrows the image', async () => {
  const { work, old, device } = setUp();
  const upload = work.input('large', uploadBytes(20 * MIB));
  const args = ['build', '-', '-o', device, '--allow-unsigned', '--size', '16M'];
  const ended = await runCli(work, args, { stdin: { path: upload, through: 'pipe' } });
  expect(ended.exitCode).toBe(5);
  expect(ended.stderr.replaceAll(/\s+/g, ' ')).toMatch(DESTROYED);
  expect(await waysIn(device, old)).toEqual([]);
});

test('Ctrl-C in the middle', async () => {
  const { work, old, device } = setUp();
  const fed = startFed(work, ['build', '-', '-o', device, '--allow-unsigned', '--content-length', '9999999']);
  await fed.send(uploadBytes(4 * MIB));
  fed.child.kill('SIGINT');
  const { exitCode, stderr } = await fed.ended;
  expect(exitCode).toBe(130);
  expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(DESTROYED);
  expect(await waysIn(device, old)).toEqual([]);
});

test('a source that breaks off before its first byte: everything is as it was', async () => {
  const { work, old, device } = setUp();
  const args = ['build', '-', '-o', device, '--allow-unsigned', '--content-length', '9999999'];
  const { exitCode, stderr } = await feed(startFed(work, args), []);
  expect(exitCode).toBe(4);
  expect(stderr).toContain('nothing was touched');
  expect(await isWhole(device, old)).toBe(true);
  expect(await waysIn(device, old)).toHaveLength(2 + 2 * old.backups.length);
});

describe('SIGKILL', () => {
  interface Written {
    readonly length: number;
    readonly offset: number;
  }

  /** Every write of the command line into the device, as strace saw it. */
  function writesIn(log: string): Written[] {
    return [...readFileSync(log, 'utf8').matchAll(/^pwrite64\(\d+, .*, (\d+), (\d+)\) += /gm)].map(
      (match) => ({
        length: Number(match[1]),
        offset: Number(match[2]),
      }),
    );
  }

  /** Without -f strace sees the main thread only, which is the one that writes. */
  const traced = (log: string, ...options: readonly string[]): readonly string[] => [
    'strace',
    '-qq',
    '-s0',
    '-o',
    log,
    '-e',
    'trace=pwrite64',
    ...options,
  ];

  test.for(WAYS_TO_CLEAR)('at any write, %s', { timeout: 240_000 }, async (way, context) => {
    requireTool(context, 'strace');
    const { work, old, device, upload } = setUp();
    const pristine = work.output('pristine');
    copyDisk(old.file, pristine);
    const env = environmentFor(work, way);
    const log = work.input('strace', '');
    const args = ['build', upload, '-o', device, ...FIXED];
    const counted = await startCli(work, args, { env, wrapper: traced(log) }).ended;
    expect(counted.exitCode, counted.stderr).toBe(0);
    const writes = writesIn(log);
    const wiped = writes.findIndex(({ offset, length }) => offset === 0 && length === MIB) + 1;
    expect(wiped).toBe(old.backups.length + 2);
    expect(writes.at(-1)).toEqual({ length: 4096, offset: 0 });

    // All around the end of the old file system, some in the payload, all metadata and the superblock.
    const moments = new Set([1, 2, wiped - 2, wiped - 1, wiped, wiped + 1, wiped + 2, wiped + 4]);
    for (let index = writes.length; index > writes.length - 5; index -= 1) moments.add(index);
    const found = new Set<string>();
    for (const moment of moments) {
      detachLoop(device);
      copyDisk(pristine, old.file);
      const again = attachLoop(old.file);
      const kill = ['-e', `inject=pwrite64:signal=SIGKILL:when=${moment}`];
      const killed = startCli(work, ['build', upload, '-o', again, ...FIXED], {
        env,
        wrapper: traced(log, ...kill),
      });
      expect((await killed.ended).exitCode).not.toBe(0);
      const what = `killed at write ${moment} of ${writes.length}, ${JSON.stringify(writes[moment - 1])}`;
      const ways = await waysIn(again, old);
      if (ways.length === 0) found.add('nothing');
      else if (moment === writes.length) {
        // The last write may have been made: then the image is complete.
        found.add('new');
        await expectPatchOnDevice(work, again, upload, VIRTUAL_SIZE);
      } else {
        found.add('old');
        expect(moment, what).toBeLessThanOrEqual(wiped);
        expect(await isWhole(again, old), what).toBe(true);
      }
      detachLoop(again);
    }
    expect(found).toContain('old');
    expect(found).toContain('nothing');
  });

  test.for([
    ['after a byte', 1],
    ['in the middle of the payload', 3 * MIB],
    ['at its end', UPLOAD_BYTES],
  ] as const)('%s has come through a pipe', async ([, sent]) => {
    const { work, old, device, upload } = setUp();
    const args = [
      'build',
      '-',
      '-o',
      device,
      '--allow-unsigned',
      '--content-length',
      String(UPLOAD_BYTES + 1),
    ];
    const fed = startFed(work, args);
    for (const piece of pieces(readFileSync(upload).subarray(0, sent), [65_536])) await fed.send(piece);
    // Until the old superblock is gone. (To try a mount would claim the device.)
    const magic = (): number => readAt(device, 1024 + 0x38, 2).readUInt16LE();
    await expect.poll(magic).toBe(0);
    await wait(100);
    fed.child.kill('SIGKILL');
    expect((await fed.ended).signal).toBe('SIGKILL');
    expect(await waysIn(device, old)).toEqual([]);
  });
});

describe('a device that fails', () => {
  test('a write that cannot be stored: found out before the superblock', async () => {
    // The file behind the device lies on a disk that is too small for it; the kernel calls that an I/O error.
    await withSmallDisk(8 * MIB, async (folder) => {
      const work = workspace();
      const device = attachLoop(createSparse(`${folder}/disk`, 64 * MIB));
      const upload = work.input('upload', uploadBytes(9 * MIB));
      const env = withoutFallocate(work);
      const ended = await runCli(work, ['build', upload, '-o', device, '--allow-unsigned'], { env });
      expect(ended.exitCode, ended.stderr).toBe(8);
      expect(ended.stderr).toMatch(/EIO/);
      expect(ended.stderr.replaceAll(/\s+/g, ' ')).toMatch(DESTROYED);
      expect(await waysIn(device, { file: '', blockBytes: 4096, backups: [], content: Buffer.of() })).toEqual(
        [],
      );
      detachLoop(device);
    });
  });

  test('a read that fails: nothing is written', async () => {
    const { work, old, device, upload } = setUp();
    // Whoever reads where the file no longer is gets an I/O error.
    truncateSync(old.file, 0);
    const ended = await runCli(work, ['build', upload, '-o', device, '--allow-unsigned']);
    expect(ended.exitCode, ended.stderr).toBe(8);
    expect(ended.stderr).toContain('could not be read');
    expect(ended.stderr).toContain('EIO');
  });
});
