import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { FINDING_CODES } from '../src/finding-codes.js';

const REPOSITORY = resolve(import.meta.dirname, '..');

test('docs/inspect.md lists every finding with its meaning, and no other', () => {
  const text = readFileSync(join(REPOSITORY, 'docs/inspect.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([a-z0-9-]+)` +\| (.*?) +\|$/gm)].map(([, code, meaning]) => [
    code,
    meaning,
  ]);
  const listed = rows.filter(([code = '']) => code.includes('-'));
  expect(Object.fromEntries(listed)).toEqual(FINDING_CODES);
});

test('every finding is made somewhere', () => {
  const names = readdirSync(join(REPOSITORY, 'src'), { recursive: true, encoding: 'utf8' });
  const source = names
    .filter((name) => name.endsWith('.ts') && name !== 'finding-codes.ts')
    .map((name) => readFileSync(join(REPOSITORY, 'src', name), 'utf8'))
    .join('\n');
  const unused = Object.keys(FINDING_CODES).filter((code) => !source.includes(`'${code}'`));
  expect(unused).toEqual([]);
});
