import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Reproduction } from '../../src/kit/reproduce.js';
import { fakeTools } from '../faults/fake-tools.js';
import { mustBuild, runCli } from './cli.js';
import { uploadBytes } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

const FIXTURES = join(import.meta.dirname, '../../fixtures');
const EPOCH = ['--source-date-epoch', '1700000000'];

async function builtImage(work: Workspace, format: string, filesystem: string): Promise<string> {
  const image = work.output(`x.${format}`);
  const shape = ['--format', format, '--filesystem', filesystem, '--label', 'a label'];
  const upload = work.input('upload', uploadBytes(300_001));
  await mustBuild(work, [upload, '-o', image, '--allow-unsigned', ...shape, ...EPOCH]);
  return image;
}

async function reproduce(work: Workspace, image: string, ...args: string[]) {
  const ended = await runCli(work, ['build', '--reproduce', image, '--json', ...args]);
  return { exitCode: ended.exitCode, made: JSON.parse(ended.stdout) as Reproduction & { ok: boolean } };
}

describe.for(['raw', 'vhd', 'vhd-fixed'])('%s', (format) => {
  test.for(['ext4', 'ext3', 'ext2'])(
    '%s: what was built is built again, byte by byte',
    async (filesystem) => {
      const work = workspace();
      const image = await builtImage(work, format, filesystem);
      const { exitCode, made } = await reproduce(work, image);
      expect(made).toMatchObject({ ok: true, same: true, differentBytes: 0, format, filesystem, notes: [] });
      expect(made).toMatchObject({
        sourceDateEpoch: 1_700_000_000,
        label: 'a label',
        payloadLength: 300_001,
      });
      expect(exitCode).toBe(0);
      expect(work.outputs()).toEqual([`x.${format}`]);
    },
  );
});

test.for([
  ['ext4', 'file'],
  ['ext2', 'file'],
  ['ext4', 'stream'],
] as const)(
  '%s into a %s, without an epoch: one build has one time, however long it takes',
  async ([fs, into]) => {
    const work = workspace();
    const image = work.output('x.vhd');
    const upload = work.input('upload', uploadBytes(300_001));
    const slow = 'sleep 1.1; exec REAL "$@"';
    const env = fakeTools(work, { mke2fs: slow, debugfs: slow, e2fsck: slow });
    const args = [upload, '--format', 'vhd', '--filesystem', fs, '--allow-unsigned'];
    if (into === 'file') await mustBuild(work, [...args, '-o', image], { env });
    else await mustBuild(work, args, { env, stdout: { path: image, through: 'pipe' } });
    const { exitCode, made } = await reproduce(work, image);
    expect(made).toMatchObject({ same: true, differentBytes: 0, notes: [] });
    expect(exitCode).toBe(0);
  },
);

/** One changed byte at a place outside the upload: where, and what is named. */
const CHANGES = [
  ['in the header of a VHD', 512 + 60, 'dynamic disk header', 60],
  ['in its table', 512 + 1024 + 31, 'BAT', 31],
  ['in its footer copy', 40, 'footer copy', 40],
] as const;

test.for(CHANGES)('one byte %s is found and named', async ([, offset, structure, within]) => {
  const work = workspace();
  const image = await builtImage(work, 'vhd', 'ext4');
  const bytes = readFileSync(image);
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  writeFileSync(image, bytes);
  const { exitCode, made } = await reproduce(work, image);
  expect(made.firstDifference).toMatchObject({ offset, structure, offsetInStructure: within });
  expect(exitCode).toBe(1);
});

test('an image that was cut or grew differs in length', async () => {
  const work = workspace();
  const image = await builtImage(work, 'vhd', 'ext4');
  const bytes = readFileSync(image);
  const longer = work.output('longer.vhd');
  writeFileSync(longer, Buffer.concat([bytes, Buffer.alloc(512)]));
  const { exitCode, made } = await reproduce(work, longer);
  expect(made).toMatchObject({
    same: false,
    differentBytes: 512,
    firstDifference: { structure: 'behind the end' },
  });
  expect(exitCode).toBe(1);
});

test('another epoch is another image, and the reason is told', async () => {
  const work = workspace();
  const image = await builtImage(work, 'vhd', 'ext4');
  const { exitCode, made } = await reproduce(work, image, '--source-date-epoch', '1700000001');
  expect(made.same).toBe(false);
  expect(made.notes.join(' ')).toContain('1700000000');
  expect(exitCode).toBe(1);
});

test.for(['ext/ext4-4k.img', 'ext/ext2-1k.img', 'ext/ext3-needs-recovery.img'])(
  'the image of another program, %s, is no defect of ours',
  async (name) => {
    const work = workspace();
    const image = work.input('foreign.raw', gunzipSync(readFileSync(join(FIXTURES, `${name}.gz`))));
    const { exitCode, stdout } = await runCli(work, ['build', '--reproduce', image, '--json']);
    expect([1, 6]).toContain(exitCode);
    expect(JSON.parse(stdout)).toMatchObject(exitCode === 1 ? { same: false } : { error: { kind: 'image' } });
  },
);

test('no output is taken', async () => {
  const work = workspace();
  const image = await builtImage(work, 'vhd', 'ext4');
  const other = work.output('y.vhd');
  expect(await runCli(work, ['build', '--reproduce', image, '-o', other])).toMatchObject({ exitCode: 2 });
  copyFileSync(image, other);
  const page = await runCli(work, ['build', '--reproduce', other]);
  expect(page.exitCode).toBe(0);
  expect(page.stdout).toContain('every byte is the same');
});
