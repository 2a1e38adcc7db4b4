import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { FAULTS } from '../../src/kit/faults/catalogue.js';
import type { Manifest, ManifestImage } from '../../src/kit/suite/manifest.js';
import { requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { CLI } from './cli.js';
import { judge } from './judges/suite-image.js';
import { makeWorkspace } from './workspace.js';

/* The suite is made once, when this file is loaded: its images are the test cases. */

const work = makeWorkspace();
afterAll(() => work.remove());

const suite = work.output('suite');

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    cwd: work.folder,
    env: { PATH: process.env['PATH'], HOME: work.folder, TMPDIR: work.tmp },
    maxBuffer: 2 ** 28,
  });
  return { exitCode: status, stdout, stderr };
}

const made = run('test', 'suite', '-o', suite, '--seed', '7', '--json');
if (made.exitCode !== 0) throw new Error(`test suite: exit ${made.exitCode}: ${made.stderr}`);
const manifest = JSON.parse(readFileSync(join(suite, 'manifest.json'), 'utf8')) as Manifest;

const at = (file: string): string => join(suite, file);
const sortedCodes = (findings: readonly { code: string }[] | undefined) =>
  findings === undefined ? null : [...new Set(findings.map(({ code }) => code))].sort();

interface InspectObject {
  readonly findings?: readonly { code: string }[];
}

interface VerifyObject {
  readonly signature?: string;
  readonly structure?: string;
  readonly report?: InspectObject;
}

function inspected({ file }: ManifestImage) {
  const { exitCode, stdout } = run('inspect', at(file), '--json');
  const { findings } = JSON.parse(stdout) as InspectObject;
  return { exitCode, findings: sortedCodes(findings) };
}

function verified({ file, keyring, signature }: ManifestImage) {
  const detached = signature === null ? [] : ['--signature', at(signature)];
  const { exitCode, stdout } = run('verify', at(file), '--keyring', at(keyring), ...detached, '--json');
  const object = JSON.parse(stdout) as VerifyObject;
  return {
    exitCode,
    signature: object.signature ?? 'not checked',
    structure: object.structure ?? 'damaged',
    findings: sortedCodes(object.report?.findings),
  };
}

describe('the suite', () => {
  test('is of some fifty images and more', () => {
    expect(manifest.images.length).toBeGreaterThan(50);
    expect(JSON.parse(made.stdout)).toMatchObject({ ok: true, images: manifest.images });
  });

  test('has every fault of the catalogue, and every format with every file system', () => {
    const faults = new Set(manifest.images.map(({ fault }) => fault));
    expect(faults).toEqual(new Set([null, ...FAULTS.map(({ name }) => name)]));
    const good = manifest.images.filter(({ fault }) => fault === null);
    const shapes = new Set(good.map(({ format, filesystem }) => `${format} ${filesystem}`));
    expect(shapes.size).toBe(9);
  });

  test('holds what the manifest says, and nothing else', () => {
    const { images, keys } = manifest;
    for (const { file, bytes, sha256 } of images) {
      expect(statSync(at(file)).size, file).toBe(bytes);
      expect(
        createHash('sha256')
          .update(readFileSync(at(file)))
          .digest('hex'),
        file,
      ).toBe(sha256);
    }
    const named = [
      ...images.flatMap(({ file, signature }) => (signature === null ? [file] : [file, signature])),
      ...keys.flatMap(({ file }) => [file, file.replace(/gpg$/, 'asc')]),
      'README.md',
      'manifest.json',
    ];
    const found = readdirSync(suite, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(suite.length + 1));
    expect(found.sort()).toEqual(named.sort());
    expect(new Set(images.map(({ name }) => name)).size).toBe(images.length);
  });

  test('leaves nothing behind', () => {
    expect(readdirSync(work.tmp)).toEqual([]);
    expect(work.outputs()).toEqual(['suite']);
  });
});

describe.for(manifest.images)('$name', (image) => {
  const { expected } = image;

  test('inspect', () => {
    expect(inspected(image)).toEqual(expected.inspect);
  });

  test('verify', () => {
    expect(verified(image)).toEqual(expected.verify);
  });

  test('qemu-img, e2fsck, the kernel and gpgv', (context) => {
    requireTool(context, 'qemu-img', 'e2fsck', 'debugfs', 'gpgv', 'mount');
    requireLoopDevices(context);
    const folder = temporaryFolder();
    const judged = judge(
      {
        path: at(image.file),
        isVhd: image.format !== 'raw',
        uploadSha256: image.upload.sha256,
        keyring: at(image.keyring),
        signature: image.signature === null ? null : at(image.signature),
      },
      folder,
    );
    const { qemuImg, fsck, mount, gpgv } = expected;
    expect(judged).toEqual({ qemuImg, fsck, mount, gpgv });
    rmSync(folder, { recursive: true, force: true });
  });
});
