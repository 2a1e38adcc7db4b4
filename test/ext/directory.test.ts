import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { readDirectory } from '../../src/ext/directory.js';
import { ROOT_INODE_NUMBER } from '../../src/ext/layout.js';
import { MIB } from '../../src/units.js';
import { ask, change } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { openImage } from './images.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

/** The entries of the root as `debugfs ls -p` prints them: /inode/mode/uid/gid/name/size/ */
function listRoot(image: string): Array<{ inodeNumber: number; name: string }> {
  const entries = [];
  for (const line of ask(image, 'ls -p /').split('\n')) {
    const [, inode = '', , , , name = ''] = line.split('/');
    if (inode !== '' && inode !== '0') entries.push({ inodeNumber: Number(inode), name });
  }
  return entries;
}

async function readRoot(image: string) {
  const filesystem = await openImage(image);
  return readDirectory(filesystem, ROOT_INODE_NUMBER);
}

function sample(...commands: readonly string[]): string {
  const image = formatSample(join(temporaryFolder(), 'sample.raw'), 16 * MIB, '-N', '2000');
  if (commands.length > 0) change(image, ...commands);
  return image;
}

describe('the entries of the root are those that debugfs lists', () => {
  test('in a fresh file system: itself, its parent and lost+found, all folders', async () => {
    const entries = await readRoot(sample());
    expect(entries).toMatchObject([
      { inodeNumber: 2, name: '.', fileType: 2 },
      { inodeNumber: 2, name: '..', fileType: 2 },
      { inodeNumber: 11, name: 'lost+found', fileType: 2 },
    ]);
  });

  test.each([
    ['the shortest and the longest name', ['write /dev/null a', `write /dev/null ${'n'.repeat(255)}`]],
    ['a name in UTF-8', ['write /dev/null Größe-補丁']],
    ['a name that begins with a byte order mark', ['write /dev/null \uFEFFname']],
    ['a file that was removed', ['write /dev/null first', 'write /dev/null second', 'rm first']],
    ['a folder, a link and a device', ['mkdir sub', 'symlink link /etc', 'mknod pipe p']],
    [
      'so many names that they fill several blocks',
      Array.from({ length: 600 }, (_, index) => `write /dev/null a-rather-long-name-of-a-file-${index}`),
    ],
  ])('%s', async (_name, commands) => {
    const image = sample(...commands);
    const entries = await readRoot(image);
    expect(entries.map(({ inodeNumber, name }) => ({ inodeNumber, name }))).toEqual(listRoot(image));
    expect(entries.length).toBeGreaterThan(3);
  });

  test('a file has type 1, a folder 2, a pipe 5, a symbolic link 7', async () => {
    const image = sample('write /dev/null file', 'mkdir folder', 'mknod pipe p', 'symlink link /etc');
    const types = new Map((await readRoot(image)).map(({ name, fileType }) => [name, fileType]));
    expect(['file', 'folder', 'pipe', 'link'].map((name) => types.get(name))).toEqual([1, 2, 5, 7]);
  });
});

test('the index of a hashed folder does not show up as an entry', async (context) => {
  requireTool(context, 'e2fsck');
  const names = Array.from({ length: 600 }, (_, index) => `write /dev/null a-rather-long-name-${index}`);
  const image = sample(...names);
  // debugfs makes no index; e2fsck -D does, where a folder has more than one block.
  runJudge('e2fsck', ['-fyD', image]);
  expect(ask(image, 'htree_dump /')).toContain('Root node dump');
  const found = (await readRoot(image)).map(({ name }) => name).sort();
  expect(found).toEqual(
    listRoot(image)
      .map(({ name }) => name)
      .sort(),
  );
  expect(found).toHaveLength(603);
});
