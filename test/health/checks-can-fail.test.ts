import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../oracles/temporary-folder.js';

/*
 * `npm run dead-code` and `npm run duplicates` find nothing in src today. That says something only if they look: here
 * they get small projects with one fault each, under the settings of our own package.json.
 */

const PROJECT = join(import.meta.dirname, '../..');

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as Manifest;

const CLEAN: Readonly<Record<string, string>> = {
  'src/index.ts': `export { greet } from './greet.js';\n`,
  'src/cli/main.ts': `import { greet } from '../greet.js';\n\nconsole.log(greet('you'));\n`,
  'src/greet.ts': 'export function greet(name: string): string {\n  return `hello ${name}`;\n}\n',
};

/** Runs a script of our package.json in a project of these files. */
function runScript(name: string, files: Readonly<Record<string, string>>): { code: number; text: string } {
  const folder = temporaryFolder();
  // The parts that say how to look; nothing of what npm installs.
  const { knip, jscpd, type } = manifest;
  const all = {
    ...files,
    'package.json': JSON.stringify({ name: 'a-project', version: '1.0.0', type, knip, jscpd }),
    'tsconfig.json': readFileSync(join(PROJECT, 'tsconfig.json'), 'utf8'),
    'test/a.test.ts': `import '../src/index.js';\n`,
    'test/b.mjs': '',
    'test/killed-child.ts': '',
  };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  const [program = '', ...args] = (manifest.scripts[name] ?? '').split(' ');
  const path = join(PROJECT, 'node_modules/.bin', program);
  const { status, stdout, stderr } = spawnSync(path, args, { cwd: folder, encoding: 'utf8' });
  return { code: status ?? -1, text: stdout + stderr };
}

test('they are part of what `npm test` runs first', () => {
  expect(manifest.scripts['test']).toMatch(/^npm run check && /);
  expect(manifest.scripts['check']).toContain('npm run dead-code');
  expect(manifest.scripts['check']).toContain('npm run duplicates');
});

describe('dead code', () => {
  test('none in a clean project', () => {
    expect(runScript('dead-code', CLEAN)).toEqual({ code: 0, text: '' });
  });

  test.each<[string, Record<string, string>, string]>([
    [
      'an export that nobody imports',
      { 'src/greet.ts': `${CLEAN['src/greet.ts']}export const DEAD = 1;\n` },
      'DEAD',
    ],
    [
      'one that only its own file uses',
      {
        'src/greet.ts': `export const DEAD = 'hello';\nexport const greet = (name: string): string => DEAD + name;\n`,
      },
      'DEAD',
    ],
    ['a file that nobody imports', { 'src/dead.ts': 'export const x = 1;\n' }, 'src/dead.ts'],
    ['a helper of tests that no test uses', { 'test/dead.ts': 'export const x = 1;\n' }, 'test/dead.ts'],
  ])('%s is found', (_name, files, found) => {
    const { code, text } = runScript('dead-code', { ...CLEAN, ...files });
    expect(text).toContain(found);
    expect(code).toBe(1);
  });
});

describe('duplicates', () => {
  /** Of our own house: what is long enough here is long enough there. */
  const original = readFileSync(join(PROJECT, 'src/inspect/file-chunks.ts'), 'utf8');

  test('none in a clean project', () => {
    expect(runScript('duplicates', { ...CLEAN, 'src/original.ts': original })).toMatchObject({ code: 0 });
  });

  test.each<[string, string]>([
    ['a copied file', original],
    [
      'one with other comments and white space',
      original.replaceAll(/\/\*\*[\s\S]*?\*\//g, '/* copied */').replaceAll('  ', '\t'),
    ],
    ['one function of it', original.slice(original.indexOf('export async function*'))],
  ])('%s is found', (_name, copy) => {
    const { code, text } = runScript('duplicates', {
      ...CLEAN,
      'src/original.ts': original,
      'src/copy.ts': copy,
    });
    expect(text).toMatch(/Found .*1.* clones?/);
    expect(code).toBe(1);
  });
});
