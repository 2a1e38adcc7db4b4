import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Finding } from '../../src/findings.js';
import { readFile } from '../../src/ext/file-pieces.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import { inodeFlagNames } from '../../src/ext/inode-facts.js';
import { readInode } from '../../src/ext/inode.js';
import { lookUp, walk, type WalkOptions } from '../../src/ext/paths.js';
import { MIB } from '../../src/units.js';
import { change, statFile } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { openImage } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

/** Files with fast and slow links beside them. */
async function sample(): Promise<{ image: string; filesystem: ExtFilesystem; findings: Finding[] }> {
  const image = formatSample(join(temporaryFolder(), 'paths.raw'), 16 * MIB);
  change(
    image,
    'mkdir a',
    'cd /a',
    'mkdir b',
    'cd /a/b',
    'write /dev/null Größe',
    'cd /',
    'write /dev/null file',
    'symlink link a/b',
    `symlink long ${'x'.repeat(200)}\u001b[2J`,
  );
  const findings: Finding[] = [];
  const report = (finding: Finding): void => void findings.push(finding);
  return { image, filesystem: { ...(await openImage(image)), report }, findings };
}

describe('lookUp', () => {
  test.for(['/', '', 'file', '/file', 'a/b', 'a/b/Größe', 'lost+found'])('finds %j', async (path) => {
    const { image, filesystem } = await sample();
    const theirs = statFile(image, path === '' ? '/' : path).inode;
    expect(await lookUp(filesystem, path)).toBe(theirs);
  });

  test.for(['other', 'File', 'file/x', 'a/x', 'a/b/Gr', 'a/b/Gro\u0308ße'])(
    'does not find %j',
    async (path) => {
      expect(await lookUp((await sample()).filesystem, path)).toBeUndefined();
    },
  );

  test.for(['.', '..', 'a/..', 'a/./b', 'a//b', 'a/', '//a', 'a/\0'])('refuses %j', async (path) => {
    await expect(lookUp((await sample()).filesystem, path)).rejects.toMatchObject({ kind: 'usage' });
  });

  test('says where a link points, escaped and short', async () => {
    const { filesystem } = await sample();
    for (const path of ['link', 'link/Größe']) {
      await expect(lookUp(filesystem, path)).rejects.toMatchObject({
        kind: 'image',
        context: { found: 'a link to a/b' },
      });
    }
    await expect(lookUp(filesystem, 'long')).rejects.toMatchObject({
      context: { found: expect.stringMatching(/^a link to x{64}\.\.\.$/) as unknown },
    });
  });

  test('reports a deleted inode that has a name', async () => {
    const { image, filesystem, findings } = await sample();
    change(image, 'set_inode_field /file links_count 0');
    expect(await lookUp(filesystem, 'file')).toBe(statFile(image, 'file').inode);
    expect(findings).toMatchObject([{ code: 'deleted-inode', severity: 'warning' }]);
  });
});

describe('walk', () => {
  async function pathsOf(filesystem: ExtFilesystem, options?: WalkOptions): Promise<string[]> {
    const paths: string[] = [];
    for await (const { path } of walk(filesystem, options)) paths.push(path);
    return paths.toSorted();
  }
  const ALL = ['a', 'a/b', 'a/b/Größe', 'file', 'link', 'long', 'lost+found'];

  test('lists everything once', async () => {
    const { filesystem, findings } = await sample();
    expect(await pathsOf(filesystem)).toEqual(ALL);
    expect(findings).toEqual([]);
  });

  test('stops at its limits, and says so', async () => {
    const { filesystem, findings } = await sample();
    expect(await pathsOf(filesystem, { maxEntries: ALL.length })).toEqual(ALL);
    expect(await pathsOf(filesystem, { maxEntries: 3 })).toHaveLength(3);
    expect(findings.map(({ code }) => code)).toEqual(['listing-cut']);
    findings.length = 0;
    expect(await pathsOf(filesystem, { maxDepth: 2 })).toEqual(ALL.filter((path) => !path.includes('G')));
    expect(findings.map(({ code }) => code)).toEqual(['listing-depth']);
  });

  test('a folder that is linked below itself is entered once', async () => {
    const { image, filesystem, findings } = await sample();
    change(image, 'cd /a/b', 'link /a loop');
    expect(await pathsOf(filesystem)).toEqual([...ALL, 'a/b/loop'].toSorted());
    expect(findings.map(({ code }) => code)).toEqual(['directory-cycle']);
  });
});

test('a file that is larger than allowed is not read', async () => {
  const { filesystem } = await sample();
  const inodeNumber = 2;
  const raw = await readInode(filesystem, inodeNumber);
  await expect(readFile(filesystem, inodeNumber, raw, { maxBytes: 4095 })).rejects.toMatchObject({
    kind: 'image',
    context: { found: 'a file of 4096 bytes', expected: '4095 at most' },
  });
});

test('flags have names, those that nobody knows their number', () => {
  expect(inodeFlagNames(0)).toEqual([]);
  expect(inodeFlagNames(0x80000010)).toEqual(['immutable', 'reserved']);
  expect(inodeFlagNames(0x08080000)).toEqual(['extents', '0x8000000']);
});
