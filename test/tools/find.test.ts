import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import { compareVersions, findProgram, requireProgram } from '../../src/tools/find.js';
import { makeProgram } from '../native-tools/fake-programs.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

/** Two folders, in the order in which they are searched. */
function twoFolders(): [string, string] {
  const parent = temporaryFolder();
  return [join(parent, 'first'), join(parent, 'second')];
}

describe('findProgram', () => {
  test('the first folder wins', () => {
    const [first, second] = twoFolders();
    makeProgram(second, 'mke2fs', '');
    expect(findProgram('mke2fs', [first, second])).toBe(join(second, 'mke2fs'));
    makeProgram(first, 'mke2fs', '');
    expect(findProgram('mke2fs', [first, second])).toBe(join(first, 'mke2fs'));
    expect(findProgram('mke2fs', [second, first])).toBe(join(second, 'mke2fs'));
  });

  test('folders, files that nobody may execute and dangling links are passed over', () => {
    const [first, second] = twoFolders();
    mkdirSync(join(first, 'mke2fs'), { recursive: true });
    makeProgram(first, 'debugfs', '', 0o644);
    symlinkSync('/nowhere/at/all', join(first, 'e2fsck'));
    for (const program of ['mke2fs', 'debugfs', 'e2fsck']) {
      expect(findProgram(program, [first])).toBeUndefined();
      makeProgram(second, program, '');
      expect(findProgram(program, [first, second])).toBe(join(second, program));
    }
  });

  test('a link to a program is a program', () => {
    const [first, second] = twoFolders();
    makeProgram(second, 'mke2fs', '');
    mkdirSync(first);
    symlinkSync(join(second, 'mke2fs'), join(first, 'mke2fs'));
    expect(findProgram('mke2fs', [first])).toBe(join(first, 'mke2fs'));
  });

  test('nowhere to look, nothing found', () => {
    expect(findProgram('sh', [])).toBeUndefined();
  });
});

describe('requireProgram', () => {
  const errorFor = (program: string): unknown => {
    try {
      return requireProgram(program, { searchPath: ['/nowhere', '/else'], temporaryFolder: '/tmp' });
    } catch (error) {
      return error;
    }
  };

  test('gives the path of what is there', () => {
    const folder = temporaryFolder();
    const path = makeProgram(folder, 'mke2fs', '');
    expect(requireProgram('mke2fs', { searchPath: [folder], temporaryFolder: '/tmp' })).toBe(path);
  });

  test('says what was found, what was expected and what to do', () => {
    const error = errorFor('debugfs');
    expect(isPatchVdiError(error)).toBe(true);
    expect(error).toMatchObject({
      kind: 'tool',
      message: 'debugfs was not found',
      context: { found: 'no executable debugfs in /nowhere:/else', expected: 'debugfs 1.45 or later' },
      hint: expect.stringContaining('apt-get install e2fsprogs') as unknown,
      leftBehind: 'nothing was touched',
    });
  });

  test('also for a program without a minimum, and for one that is not in the list', () => {
    expect(errorFor('strace')).toMatchObject({ context: { expected: 'strace' } });
    expect(errorFor('moonfs')).toMatchObject({ context: { expected: 'moonfs' }, hint: 'install moonfs' });
  });
});

describe('compareVersions', () => {
  test.each([
    ['1.45', '1.45', 0],
    ['1.45', '1.45.0', 0],
    ['1.45.1', '1.45', 1],
    ['1.47.0', '1.45', 1],
    ['1.9', '1.45', -1],
    ['1.100', '1.45', 1],
    ['1.44.99', '1.45', -1],
    ['2', '1.45', 1],
    ['2.2.40', '2.2', 1],
    ['0.99', '1', -1],
    ['10.0', '9.9', 1],
  ])('%s against %s: %i', (a, b, sign) => {
    expect(Math.sign(compareVersions(a, b))).toBe(sign);
    expect(Math.sign(compareVersions(b, a))).toBe(sign === 0 ? 0 : -sign);
  });
});
