/*
 * Looking into images needs no e2fsprogs: on a machine without them (a container, a Mac, Alpine) the installed package
 * inspects, takes out, compares, and with gpgv verifies. strace says which programs were really started.
 */
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { makeSigningBench, type SigningBench } from '../e2e/signed-uploads.js';
import { requireTool } from '../oracles/require-tool.js';
import { PROJECT, mustRun, packPackage, run, type PackedPackage } from './packed.js';

let packed: PackedPackage;
let bench: SigningBench;
/** Folders of native tools: none, and gpgv alone. */
let none: string;
let gpgvOnly: string;
let upload: string;
let vhd: string;
let raw: string;

beforeAll(() => {
  packed = packPackage();
  bench = makeSigningBench();
  none = join(packed.folder, 'no-tools');
  gpgvOnly = join(packed.folder, 'gpgv-only');
  for (const folder of [none, gpgvOnly]) mkdirSync(folder);
  symlinkSync(findProgram('gpgv', DEFAULT_SEARCH_PATH) ?? 'gpgv', join(gpgvOnly, 'gpgv'));
  upload = join(packed.folder, 'upload');
  writeFileSync(upload, bench.plain);
  [vhd, raw] = ['a.vhd', 'b.raw'].map((name) => join(packed.folder, name)) as [string, string];
  for (const image of [vhd, raw]) {
    mustRun(
      packed.program,
      ['build', upload, '-o', image, '--keyring', bench.keyring, '--quiet'],
      packed.folder,
    );
  }
});
afterAll(() => {
  bench.close();
  packed.remove();
});
beforeEach((context) => requireTool(context, 'strace', 'gpgv'));

/** Runs the installed program where only the tools of a folder are, and says which programs it started. */
function runWith(tools: string, ...args: string[]) {
  const log = join(packed.folder, 'strace.log');
  const strace = ['-f', '-qq', '-e', 'trace=execve', '-o', log, packed.program, ...args];
  const ended = run('strace', strace, packed.folder, { PATCH_VDI_TOOLS_PATH: tools });
  const started = [...readFileSync(log, 'utf8').matchAll(/execve\("([^"]+)".* = 0$/gm)].map(
    ([, path = '']) => path,
  );
  // The program itself, by its shebang line: env looks along PATH for node.
  const own = new Set([packed.program, '/usr/bin/env']);
  return { ...ended, programs: started.filter((path) => !own.has(path) && !path.endsWith('/node')) };
}

describe('without any tool', () => {
  test.each(['vhd', 'raw'])('inspect tells what is in a %s', (format) => {
    const { code, stdout, stderr, programs } = runWith(
      none,
      'inspect',
      format === 'vhd' ? vhd : raw,
      '--json',
    );
    expect({ code, programs }, stderr).toEqual({ code: 0, programs: [] });
    expect(JSON.parse(stdout)).toMatchObject({ patch: { size: bench.plain.length } });
  });

  test.each(['ext2-1k', 'ext2-revision-0', 'ext3-4k', 'ext4-64k', 'ext4-inline-data', 'ext4-no-extent'])(
    'inspect reads the foreign image %s',
    (name) => {
      const image = join(packed.folder, name);
      writeFileSync(image, gunzipSync(readFileSync(join(PROJECT, 'fixtures/ext', `${name}.img.gz`))));
      const { code, stderr, programs } = runWith(none, 'inspect', image);
      expect({ code, programs }, stderr).toEqual({ code: 0, programs: [] });
    },
  );

  test('extract gives the upload back', () => {
    const out = join(packed.folder, 'extracted');
    const { code, stderr, programs } = runWith(none, 'extract', vhd, '-o', out);
    expect({ code, programs }, stderr).toEqual({ code: 0, programs: [] });
    expect(readFileSync(out).equals(bench.plain)).toBe(true);
  });

  test('diff compares', () => {
    const same = runWith(none, 'diff', vhd, raw, '--content');
    expect(same, same.stderr).toMatchObject({ code: 0, programs: [] });
    // The UUIDs of two builds differ.
    expect(runWith(none, 'diff', vhd, raw)).toMatchObject({ code: 1, programs: [] });
  });

  test('verify asks for gpgv, and build for e2fsprogs, with how to get them', () => {
    const verified = runWith(none, 'verify', vhd, '--keyring', bench.keyring);
    expect(verified).toMatchObject({ code: 7, programs: [] });
    expect(verified.stderr).toMatch(/gpgv.*\n?.*(?:apt-get|apk|dnf|brew) .*gpgv|install\.sh/s);
    const built = runWith(none, 'build', upload, '-o', join(packed.folder, 'c.vhd'), '--allow-unsigned');
    expect(built).toMatchObject({ code: 7, programs: [] });
    expect(built.stderr).toMatch(/mke2fs/);
    expect(built.stderr).toMatch(/install\.sh|(?:apt-get|apk|dnf|brew) .*e2fsprogs/);
    expect(readdirSync(packed.folder)).not.toContain('c.vhd');
  });
});

describe('with gpgv alone', () => {
  test('verify says good, and by whom', () => {
    const { code, stdout, stderr, programs } = runWith(gpgvOnly, 'verify', vhd, '--keyring', bench.keyring);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(bench.alice.fingerprint);
    expect(new Set(programs)).toEqual(new Set([join(gpgvOnly, 'gpgv')]));
  });

  test('verify says bad of a changed byte', () => {
    const image = join(packed.folder, 'changed.raw');
    const bytes = readFileSync(raw);
    const at = bytes.indexOf(bench.content.subarray(1000, 2000));
    expect(at).toBeGreaterThan(0);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    writeFileSync(image, bytes);
    expect(runWith(gpgvOnly, 'verify', image, '--keyring', bench.keyring)).toMatchObject({ code: 3 });
  });

  test('extract gives the clear text', () => {
    const out = join(packed.folder, 'clear-text');
    const { code, stderr, programs } = runWith(
      gpgvOnly,
      'extract',
      vhd,
      '--payload',
      '--keyring',
      bench.keyring,
      '-o',
      out,
    );
    expect(code, stderr).toBe(0);
    expect(readFileSync(out).equals(bench.content)).toBe(true);
    expect(new Set(programs)).toEqual(new Set([join(gpgvOnly, 'gpgv')]));
  });
});
