import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { FAULTS } from '../../src/kit/faults/catalogue.js';
import { expectCleanText, mustBuild, runCli } from './cli.js';
import { difference } from './judges/same-bytes.js';
import { judge } from './judges/suite-image.js';
import { requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { workspace } from './workspace.js';

/** The faults that were asked for, by what the catalogue calls them. */
const AT_LEAST =
  `unsigned tampered-payload unknown-signer expired-key bytes-before-message bytes-after-message
  cleartext-wrapper patch-missing patch-other-name patch-is-folder patch-is-symlink patch-not-executable patch-has-hole
  patch-unwritten-extents patch-size-beyond-blocks no-scratch-left journal-needs-recovery superblock-zeroed
  superblock-bad-checksum group-bad-checksum inode-bad-checksum extent-bad-checksum unknown-incompatible-feature
  filesystem-larger-than-disk vhd-footer-bad-checksum vhd-footer-copy-bad-checksum vhd-footers-disagree
  vhd-header-bad-checksum vhd-block-past-end vhd-blocks-overlap vhd-table-too-short vhd-small-blocks
  vhd-geometry-larger vhd-footer-missing vhd-cut-in-footer-copy vhd-cut-in-header vhd-cut-in-table vhd-cut-in-bitmap
  vhd-cut-in-data vhd-cut-in-footer vhd-parent-missing stream-shorter stream-longer`.split(/\s+/);

describe('the catalogue', () => {
  test('has all that were asked for, under names that programs can rely on', () => {
    const names = FAULTS.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(AT_LEAST));
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });

  test('is a table of at most 80 columns, with every name', async () => {
    const { exitCode, stdout } = await runCli(workspace(), ['test', 'faults']);
    expect(exitCode).toBe(0);
    expectCleanText(stdout);
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    for (const { name } of FAULTS) expect(stdout).toContain(`\n${name} `);
  });

  test('is an object for programs', async () => {
    const { stdout } = await runCli(workspace(), ['test', 'faults', '--json']);
    const { faults } = JSON.parse(stdout) as { faults: { name: string; what: string; consumer: string }[] };
    expect(faults.map(({ name }) => name)).toEqual(FAULTS.map(({ name }) => name));
    for (const { what, consumer } of faults) {
      expect(what).toMatch(/^(?:[A-Z]|patch ).*\.$/);
      expect(consumer).toMatch(/^[A-Z].*\.$/);
    }
  });
});

describe('test vdi --fault', () => {
  test('makes one image, with the keyring beside it', async () => {
    const work = workspace();
    const image = work.output('bad.vhd');
    const args = ['test', 'vdi', '--fault', 'superblock-zeroed', '-o', image, '--seed', '7', '--json'];
    const { exitCode, stdout } = await runCli(work, args);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      fault: 'superblock-zeroed',
      format: 'vhd',
      filesystem: 'ext4',
      expected: { inspect: { exitCode: 6, findings: ['filesystem-unreadable'] }, apply: 'must refuse' },
    });
    expect(work.outputs()).toEqual(['bad.vhd', 'bad.vhd.keyring.gpg']);
    expect((await runCli(work, ['inspect', image])).exitCode).toBe(6);
  });

  test('same seed, same bytes; a size and a format of choice', async () => {
    const work = workspace();
    for (const name of ['1.raw', '2.raw']) {
      const args = ['-o', work.output(name), '--size', '300001', '--filesystem', 'ext2', '--seed', '7'];
      await runCli(work, ['test', 'vdi', '--fault', 'patch-has-hole', '--disk-size', '32M', ...args]);
    }
    expect(statSync(work.output('1.raw')).size).toBe(32 * 2 ** 20);
    expect(difference(work.output('1.raw'), work.output('2.raw'))).toBeUndefined();
  });

  test('a fault that exists in another file system only brings that', async () => {
    const work = workspace();
    const args = ['test', 'vdi', '--fault', 'journal-changes-patch', '-o', work.output('x.raw'), '--json'];
    expect(JSON.parse((await runCli(work, args)).stdout)).toMatchObject({ filesystem: 'ext3' });
  });

  test.for([
    ['no such fault', ['--fault', 'nonsense'], 'a name of the catalogue'],
    ['a fault of VHDs in a raw image', ['--fault', 'vhd-footer-missing', '--format', 'raw'], 'such an image'],
    ['a fault of ext4 in ext2', ['--fault', 'inode-bad-checksum', '--filesystem', 'ext2'], 'such an image'],
    ['a patch too small', ['--fault', 'unsigned', '--size', '100K'], 'that size'],
    ['a patch too large', ['--fault', 'unsigned', '--size', '1G'], 'that size'],
    ['a disk too large', ['--fault', 'unsigned', '--disk-size', '3G'], 'that size'],
    ['a key of one’s own', ['--fault', 'unsigned', '--sign', 'keys'], 'do not go together'],
  ] as const)('refuses %s, and leaves nothing', async ([, args, words]) => {
    const work = workspace();
    const { exitCode, stderr } = await runCli(work, ['test', 'vdi', '-o', work.output('x.vhd'), ...args]);
    expect(stderr).toContain(words);
    expect(exitCode).toBe(2);
    expect(work.outputs()).toEqual([]);
  });

  test('replaces nothing unless told so', async () => {
    const work = workspace();
    const path = work.output('x.vhd');
    writeFileSync(path, 'mine');
    const args = ['test', 'vdi', '--fault', 'unsigned', '-o', path];
    expect((await runCli(work, args)).exitCode).toBe(2);
    expect(readFileSync(path, 'utf8')).toBe('mine');
    expect((await runCli(work, [...args, '--force'])).exitCode).toBe(0);
    expect(statSync(path).size).toBeGreaterThan(2 ** 20);
  });
});

describe('test suite', () => {
  test('of some formats and file systems only', async () => {
    const work = workspace();
    const suite = work.output('suite');
    const shape = ['--formats', 'raw', '--filesystems', 'ext2', '--size', '256K'];
    const { exitCode, stdout } = await runCli(work, ['test', 'suite', '-o', suite, ...shape, '--json']);
    expect(exitCode).toBe(0);
    const { images } = JSON.parse(stdout) as { images: { format: string; filesystem: string }[] };
    expect(new Set(images.map(({ format, filesystem }) => `${format} ${filesystem}`))).toEqual(
      new Set(['raw ext2']),
    );
    expect(images.length).toBeGreaterThan(30);
  });

  test.for([
    ['--formats', 'qcow2'],
    ['--formats', 'raw,raw'],
    ['--filesystems', ''],
    ['--seed', '-1'],
    ['--size', '1K'],
    ['--size', '1G'],
  ])('refuses %s %s', async (args) => {
    const work = workspace();
    const ended = await runCli(work, ['test', 'suite', '-o', work.output('suite'), ...args]);
    expect(ended.exitCode).toBe(2);
    expect(work.outputs()).toEqual([]);
  });

  test('does not touch a folder that is there', async () => {
    const work = workspace();
    expect((await runCli(work, ['test', 'suite', '-o', work.out])).exitCode).toBe(2);
    expect(existsSync(work.output('manifest.json'))).toBe(false);
  });
});

describe('the judges of the suite can fail', () => {
  test('a changed byte of patch, a lost superblock, a bad footer', async (context) => {
    requireTool(context, 'qemu-img', 'e2fsck', 'debugfs', 'gpgv', 'mount');
    requireLoopDevices(context);
    const work = workspace();
    const vhd = work.output('good.vhd');
    await runCli(work, ['test', 'vdi', '-o', vhd, '--seed', '7', '--json']);
    const patch = work.input('t.xsupdate', '');
    const keys = work.output('keys');
    await runCli(work, ['test', 'key', '-o', keys, '--seed', '7']);
    await runCli(work, [
      'test',
      'patch',
      '-o',
      patch,
      '--force',
      '--size',
      '1M',
      '--sign',
      keys,
      '--seed',
      '7',
    ]);
    const raw = work.output('good.raw');
    await mustBuild(work, [patch, '-o', raw, '--allow-unsigned', '--digest', '--json']);
    const { sha256 } = JSON.parse(
      (
        await mustBuild(work, [
          patch,
          '-o',
          work.output('again.raw'),
          '--allow-unsigned',
          '--digest',
          '--json',
        ])
      ).stdout,
    ) as { sha256: string };
    const image = {
      path: raw,
      isVhd: false,
      uploadSha256: sha256,
      keyring: `${keys}/keyring.gpg`,
      signature: null,
    };
    const good = {
      qemuImg: null,
      fsck: 'clean',
      mount: { readOnly: 'mounts', writable: 'mounts', patch: 'whole' },
      gpgv: 'good',
    };
    expect(judge(image, temporaryFolder())).toEqual(good);

    const bytes = readFileSync(raw);
    const at = bytes.indexOf(readFileSync(patch).subarray(0, 4096)) + 500_000;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(raw, bytes);
    expect(judge(image, temporaryFolder())).toEqual({
      ...good,
      mount: { ...good.mount, patch: 'damaged' },
      gpgv: 'bad',
    });

    writeFileSync(raw, bytes.fill(0, 1024, 2048));
    expect(judge(image, temporaryFolder())).toEqual({
      qemuImg: null,
      fsck: 'refuses',
      mount: { readOnly: 'refuses', writable: 'refuses', patch: null },
      gpgv: null,
    });

    const disk = readFileSync(vhd);
    writeFileSync(vhd, disk.fill(0, 64, 68));
    expect(judge({ ...image, path: vhd, isVhd: true }, temporaryFolder())).toMatchObject({
      qemuImg: 'refuses',
    });
  });
});
