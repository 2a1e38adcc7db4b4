/* What the pages say about the fields of JSON is what the commands print: no field too many, and none too few. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { runCli } from '../e2e/cli.js';
import { MIB } from '../e2e/uploads.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { REPOSITORY } from './pages.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'gpgv'));

const spansOf = (text: string): string[] =>
  [...text.matchAll(/`(\w+)(?:\[\])?`/g)].map(([, name = '']) => name);

/** The names in the first column of the table that follows some words. */
function tableAfter(text: string, words: string): string[] {
  const start = text.indexOf(words);
  expect(start, words).toBeGreaterThanOrEqual(0);
  const table = /^\|[^]*?^(?!\|)/m.exec(text.slice(start))?.[0] ?? '';
  return spansOf(table.replaceAll(/^(\|[^|]*)\|.*$/gm, '$1'));
}

/** The names in the sentence of a section that begins with "`--json` prints", but for those in brackets. */
function sentenceOf(text: string, section: string): string[] {
  const own = text.slice(text.indexOf(`\n## \`${section}\`\n`)).split('\n## ')[1] ?? '';
  const sentence = /`--json`\s+prints([^.]*)\./.exec(own)?.[1] ?? '';
  return spansOf(sentence.replaceAll(/\([^)]*\)/g, ''));
}

const page = (name: string): string => readFileSync(join(REPOSITORY, 'docs', name), 'utf8');

/** A signed upload, its keyring, an image of it with good and one with bad signature. */
async function scene(): Promise<Workspace> {
  const work = workspace();
  const run = async (...args: string[]) =>
    expect((await runCli(work, args)).exitCode, args.join(' ')).toBe(0);
  await run('test', 'key', '-o', join(work.folder, 'keys'), '--seed', '1');
  await run('test', 'patch', '-o', join(work.folder, 'upload'), '--size', '1M', '--sign', 'keys');
  await run('build', 'upload', '-o', join(work.folder, 'good.vhd'), '--keyring', 'keys/keyring.gpg');
  const other = Buffer.alloc(MIB, 'not signed');
  work.input('other', other);
  await run('build', 'other', '-o', join(work.folder, 'bad.vhd'), '--allow-unsigned');
  return work;
}

const withoutOk = (names: Iterable<string>): string[] =>
  [...names].filter((name) => name !== 'ok').toSorted();

/** The names of the fields of all objects that those commands print. */
async function printedBy(work: Workspace, commands: readonly string[]): Promise<string[]> {
  const names = new Set<string>();
  for (const command of commands) {
    const { stdout } = await runCli(work, [...command.split(' '), '--json']);
    for (const name of Object.keys(JSON.parse(stdout) as object)) names.add(name);
  }
  return withoutOk(names);
}

const KEYRING = '--keyring keys/keyring.gpg';

test.for([
  ['build', () => tableAfter(page('build.md'), 'Of `build`:'), [`build upload -o x.vhd --digest ${KEYRING}`]],
  ['plan', () => tableAfter(page('build.md'), 'Of `plan`:'), ['plan upload --format vhd']],
  [
    'inspect',
    () => tableAfter(page('inspect.md'), '| field '),
    ['inspect good.vhd --map', 'inspect good.vhd --list'],
  ],
  ['extract', () => sentenceOf(page('inspect.md'), 'extract'), ['extract good.vhd -o taken']],
  [
    'verify',
    () => sentenceOf(page('inspect.md'), 'verify'),
    [`verify good.vhd ${KEYRING}`, `verify bad.vhd ${KEYRING}`],
  ],
  [
    'diff',
    () => sentenceOf(page('inspect.md'), 'diff'),
    ['diff good.vhd bad.vhd', 'diff good.vhd good.vhd --content'],
  ],
] as const)('%s', async ([, inDocs, commands]) => {
  const printed = await printedBy(await scene(), commands);
  expect(printed.length).toBeGreaterThan(3);
  expect(withoutOk(inDocs())).toEqual(printed);
});

test('sabotage: a field that nobody prints, and one that no page names', () => {
  const table = '| field | x |\n| - | - |\n| `a`, `b[]` | `no` |\n\n| `other` | |\n';
  expect(tableAfter(`Of it:\n\n${table}`, 'Of it:')).toEqual(['a', 'b']);
  expect(sentenceOf('\n## `x`\n\n`--json` prints `a`, `b[]`\n(`no`), and `c` too. `d`.\n', 'x')).toEqual([
    'a',
    'b',
    'c',
  ]);
  expect(sentenceOf('\n## `x`\n\n`--json` prints `a`.\n\n## `y`\n\nnothing', 'y')).toEqual([]);
});
