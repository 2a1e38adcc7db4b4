import { readFileSync, truncateSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Finding } from '../../src/findings.js';
import { writeAt } from '../oracles/sample-image.js';
import { requireTool } from '../oracles/require-tool.js';
import { expectCleanText, mustBuild, runCli } from './cli.js';
import { makeSigningBench, type SigningBench } from './signed-uploads.js';
import { MIB, uploadBytes } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

let bench: SigningBench;
beforeAll(() => {
  bench = makeSigningBench();
});
afterAll(() => bench.close());
beforeEach((context) => requireTool(context, 'mke2fs', 'gpgv', 'gpg'));

const FORMATS = ['raw', 'vhd', 'vhd-fixed'] as const;
const FILESYSTEMS = ['ext2', 'ext3', 'ext4'] as const;
const KINDS = FORMATS.flatMap((format) => FILESYSTEMS.map((filesystem) => [format, filesystem] as const));

async function built(work: Workspace, upload: Uint8Array, ...args: string[]): Promise<string> {
  const image = work.output(`image-${args.join('').replaceAll(/[^a-z0-9]/g, '')}`);
  const keys = args.includes('--allow-unsigned') ? [] : ['--keyring', bench.keyring];
  await mustBuild(work, [work.input('upload', upload), '-o', image, ...keys, ...args]);
  return image;
}

async function inspected(work: Workspace, image: string, ...args: string[]) {
  const ended = await runCli(work, ['inspect', image, '--json', ...args]);
  return {
    ended,
    report: JSON.parse(ended.stdout) as Record<string, never> & { findings: { code: string }[] },
  };
}

describe('what build has made', () => {
  test.for(KINDS)('%s with %s is without a finding, and comes out again', async ([format, filesystem]) => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', format, '--filesystem', filesystem);
    const { ended, report } = await inspected(work, image);
    expect(ended.exitCode, ended.stdout).toBe(0);
    expect(report).toMatchObject({
      ok: true,
      healthy: true,
      findings: [],
      bitmapsChecked: true,
      image: { format, virtualSize: 16 * MIB },
      filesystem: { type: filesystem, state: 'clean' },
      patch: { size: bench.plain.length, mode: '0755', layout: { holeBytes: 0, unwrittenBytes: 0 } },
      upload: { kind: 'signed message' },
    });

    const out = work.output('again');
    const extracted = await runCli(work, ['extract', image, '-o', out]);
    expect(extracted, extracted.stderr).toMatchObject({ exitCode: 0 });
    expect(readFileSync(out).equals(bench.plain)).toBe(true);

    const verified = await runCli(work, ['verify', image, '--keyring', bench.keyring, '--json']);
    expect(verified.exitCode, verified.stdout).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({
      ok: true,
      signature: 'good',
      structure: 'good',
      signatures: [{ primaryFingerprint: bench.alice.fingerprint }],
    });
  });

  test.for([1, 4095, 4096, 4097, 5_000_000])('an upload of %d bytes', async (bytes) => {
    const work = workspace();
    const upload = uploadBytes(bytes);
    const image = await built(work, upload, '--format', 'vhd', '--allow-unsigned');
    const piped = work.output('piped');
    const ended = await runCli(work, ['extract', image, '--quiet'], {
      stdout: { path: piped, through: 'pipe' },
    });
    expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
    expect(readFileSync(piped).equals(upload)).toBe(true);
  });

  test('a page that fits a terminal of 80 columns', async () => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', 'vhd');
    for (const args of [[], ['--map']]) {
      const { stdout } = await runCli(work, ['inspect', image, ...args]);
      expectCleanText(stdout);
      const tooWide = stdout.split('\n').filter((line) => line.length > 80 && line.trim().includes(' '));
      expect(tooWide).toEqual([]);
      expect(stdout).toContain('no damage found');
    }
  });

  test('--list shows the root folder', async () => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', 'raw');
    const { stdout } = await runCli(work, ['inspect', image, '--list']);
    expect(stdout).toMatch(/^-rwxr-xr-x 0:0 +\d+ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d patch$/m);
    expect(stdout).toMatch(/^drwx------ .* lost\+found$/m);
  });
});

describe('the clear text of a signed message', () => {
  test.for(['-o', 'stdout'] as const)('comes out verified (%s)', async (way) => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', 'vhd');
    const out = work.output('clear');
    const common = ['extract', image, '--payload', '--keyring', bench.keyring];
    const ended =
      way === '-o'
        ? await runCli(work, [...common, '-o', out])
        : await runCli(work, common, { stdout: { path: out, through: 'redirection' } });
    expect(ended, ended.stderr).toMatchObject({ exitCode: 0 });
    expect(readFileSync(out).equals(bench.content)).toBe(true);
    expect(`${ended.stdout}${ended.stderr}`).toContain(bench.alice.fingerprint);
  });

  test.for(['-o', 'stdout'] as const)('nothing comes out of one that was changed (%s)', async (way) => {
    const work = workspace();
    const damaged = Buffer.from(bench.plain);
    const middle = Math.floor(damaged.length / 2);
    damaged[middle] = (damaged[middle] ?? 0) ^ 1;
    const image = await built(work, damaged, '--format', 'raw', '--allow-unsigned');
    const common = ['extract', image, '--payload', '--keyring', bench.keyring];
    if (way === '-o') {
      const ended = await runCli(work, [...common, '-o', work.output('clear')]);
      expect(ended).toMatchObject({ exitCode: 3 });
      expect(work.outputs()).not.toContain('clear');
    } else {
      const out = work.output('clear');
      const ended = await runCli(work, common, { stdout: { path: out, through: 'redirection' } });
      expect(ended).toMatchObject({ exitCode: 3 });
      expect(readFileSync(out)).toHaveLength(0);
    }
  });

  test('an existing file is not replaced, unless with --force', async () => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', 'raw');
    const out = work.output('there');
    work.input('out/there', 'old');
    for (const more of [[], ['--payload', '--keyring', bench.keyring]]) {
      const ended = await runCli(work, ['extract', image, '-o', out, ...more]);
      expect(ended).toMatchObject({ exitCode: 2 });
      expect(readFileSync(out, 'utf8')).toBe('old');
    }
    const forced = await runCli(work, [
      'extract',
      image,
      '-o',
      out,
      '--force',
      '--payload',
      '--keyring',
      bench.keyring,
    ]);
    expect(forced, forced.stderr).toMatchObject({ exitCode: 0 });
    expect(readFileSync(out).equals(bench.content)).toBe(true);
  });
});

describe('verify tells which of the two failed', () => {
  const damageSuperblock = (image: string): void => writeAt(image, 1024 + 0x78, Buffer.from('CHANGED'));

  test('the signature: 3', async () => {
    const work = workspace();
    const image = await built(work, uploadBytes(100_000), '--format', 'raw', '--allow-unsigned');
    const ended = await runCli(work, ['verify', image, '--keyring', bench.keyring, '--json']);
    expect(ended.exitCode).toBe(3);
    // Who reads an image has no upload, and leaves nothing behind.
    const error = {
      path: `/patch in ${image}`,
      leftBehind: 'nothing was touched: the image is as it was',
    };
    expect(JSON.parse(ended.stdout)).toMatchObject({
      ok: false,
      signature: 'bad',
      structure: 'good',
      error,
    });
  });

  test('the structure: 6', async () => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', 'raw');
    damageSuperblock(image);
    const ended = await runCli(work, ['verify', image, '--keyring', bench.keyring, '--json']);
    expect(ended.exitCode).toBe(6);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      ok: false,
      signature: 'good',
      structure: 'damaged',
      report: { findings: [{ code: 'superblock-checksum' }] },
    });
  });

  test('both: 3, and the report says both', async () => {
    const work = workspace();
    const image = await built(work, uploadBytes(100_000), '--format', 'raw', '--allow-unsigned');
    damageSuperblock(image);
    const ended = await runCli(work, ['verify', image, '--keyring', bench.keyring, '--json']);
    expect(ended.exitCode).toBe(3);
    expect(JSON.parse(ended.stdout)).toMatchObject({ signature: 'bad', structure: 'damaged' });
  });

  test('the structure alone, without keys', async () => {
    const work = workspace();
    const image = await built(work, uploadBytes(100_000), '--format', 'raw', '--allow-unsigned');
    expect(await runCli(work, ['verify', image, '--structure-only'])).toMatchObject({ exitCode: 0 });
    expect(await runCli(work, ['verify', image])).toMatchObject({ exitCode: 2 });
    damageSuperblock(image);
    expect(await runCli(work, ['verify', image, '--structure-only'])).toMatchObject({ exitCode: 6 });
  });

  test('a VHD that is cut off: 6, whatever is missing', async () => {
    const work = workspace();
    const image = await built(work, bench.plain, '--format', 'vhd');
    truncateSync(image, 3 * MIB);
    const ended = await runCli(work, ['verify', image, '--keyring', bench.keyring, '--json']);
    expect(ended.exitCode).toBe(6);
    // The superblock is the last block of the file: where that was to be is no place of the disk.
    const { report } = JSON.parse(ended.stdout) as { report: { findings: Partial<Finding>[] } };
    const unreadable = report.findings.find(({ code }) => code === 'filesystem-unreadable');
    expect(unreadable).toMatchObject({ space: 'file' });
    expect(unreadable?.offset).toBeGreaterThanOrEqual(3 * MIB);
  });
});

describe('diff', () => {
  const epoch = ['--source-date-epoch', '1000000000'];

  test('VHD and raw of the same upload and epoch hold the same disk', async () => {
    const work = workspace();
    const a = await built(work, bench.plain, '--format', 'vhd', ...epoch);
    const b = await built(work, bench.plain, '--format', 'raw', ...epoch);
    const ended = await runCli(work, ['diff', a, b, '--json']);
    expect(ended.exitCode, ended.stdout).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ same: true, samePayload: true });
  });

  test('other UUIDs and times differ, but for --content', async () => {
    const work = workspace();
    const a = await built(work, bench.plain, '--format', 'vhd', ...epoch);
    const b = await built(work, bench.plain, '--format', 'raw', '--label', 'other');
    expect(await runCli(work, ['diff', a, b])).toMatchObject({ exitCode: 1 });
    const ended = await runCli(work, ['diff', a, b, '--content']);
    expect(ended, ended.stdout).toMatchObject({ exitCode: 0 });
    expect(ended.stdout).toContain('UUID');
  });

  test('one byte of the payload is told with its place', async () => {
    const work = workspace();
    const upload = uploadBytes(3_000_000);
    const a = await built(work, upload, '--format', 'vhd', '--allow-unsigned');
    const other = Buffer.from(upload);
    other[2_345_678] = (other[2_345_678] ?? 0) ^ 0x80;
    const b = await built(work, other, '--format', 'raw', '--allow-unsigned');
    const ended = await runCli(work, ['diff', a, b, '--content', '--json']);
    expect(ended.exitCode).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      same: false,
      samePayload: false,
      differences: expect.arrayContaining([
        expect.objectContaining({ class: 'content', what: '/patch', a: 'differs from byte 2345678 on' }),
      ]) as unknown,
    });
  });
});
