import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const MAKER = join(import.meta.dirname, 'library-reference.mjs');
const MARKER =
  '<!-- Made by `npm run docs` from src/index.ts: edit the docstrings there, not what follows. -->';

/** The faults that the maker names; none: the page is what the source gives, and its examples compile. */
async function faults(...args: readonly string[]): Promise<string[]> {
  const run = promisify(execFile)(process.execPath, [MAKER, '--check', ...args], { encoding: 'utf8' });
  const { stdout } = await run.catch((error: { readonly stdout: string; readonly stderr: string }) => {
    expect(error.stderr).toBe('');
    expect(error.stdout).not.toBe('');
    return error;
  });
  return stdout.split('\n').slice(0, -1);
}

test('docs/library.md is what the source gives, every export has a docstring, every example compiles', async () => {
  expect(await faults()).toEqual([]);
});

test('sabotage: each of these is a fault', async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, 'src/build'), { recursive: true });
  mkdirSync(join(root, 'docs'));
  writeFileSync(join(root, 'src/index.ts'), `export type { A, B } from './build/a.js';\n`);
  const source = '/** A. */\nexport interface A { x: number; yBytes: number }\nexport type B = "b";\n';
  writeFileSync(join(root, 'src/build/a.ts'), source);
  const example = "```ts\nimport type { A } from 'patch-vdi';\nexport const a: A = 1;\n```\n";
  writeFileSync(join(root, 'docs/library.md'), `${example}\n${MARKER}\n`);
  expect(await faults('--root', root)).toEqual([
    'A.x: a number without docstring, and no unit in its name',
    'B (src/build/a.ts): no docstring',
    expect.stringContaining(`example 1, line 2: Type 'number' is not assignable to type 'A'`),
    expect.stringContaining('not what the source gives, from line'),
  ]);
});
