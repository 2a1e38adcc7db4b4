/*
 * What the pages name exists: files, anchors, options, findings, faults, fields, kinds of errors and their exit codes, and
 * the words of errors.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { allCommands } from '../../src/cli/completion/command-tree.js';
import { ENVIRONMENT } from '../../src/cli/environment.js';
import { EXIT_MEANINGS, exitCodeFor } from '../../src/cli/exit-codes.js';
import { DEFAULT_LEFT_BEHIND, type ErrorKind } from '../../src/errors.js';
import * as ext from '../../src/ext/layout.js';
import { FINDING_CODES } from '../../src/finding-codes.js';
import { FAULTS } from '../../src/kit/faults/catalogue.js';
import * as vhd from '../../src/vhd/layout.js';
import { parseFault, realTree } from './command-line.js';
import { REPOSITORY, allPages, anchorsOf, blocksOf, codeSpans, deadLinks } from './pages.js';

const pages = allPages();
const page = (path: string): string => pages.find((one) => one.path === path)?.text ?? '';
const exists = (path: string): boolean => existsSync(join(REPOSITORY, path));
const read = (path: string): string => readFileSync(join(REPOSITORY, path), 'utf8');

/** Of all pages but the change log, which is about what was: `page: name` for each name that is not there. */
function missing(namesOf: (text: string) => readonly string[], isThere: (name: string) => boolean): string[] {
  return pages
    .filter(({ path }) => path !== 'CHANGELOG.md')
    .flatMap(({ path, text }) =>
      namesOf(text)
        .filter((name) => !isThere(name))
        .map((name) => `${path}: ${name}`),
    );
}

describe('links', () => {
  test('all lead somewhere', () => {
    expect(deadLinks(pages, exists, read)).toEqual([]);
  });

  test('sabotage: a file or an anchor that is not there is found', () => {
    const text = '# A title\n[a](other.md) [b](#a-title) [c](#b) ![d](d.svg) `[e](e.md)` [f](https://x)\n';
    const dead = deadLinks(
      [{ path: 'docs/x.md', text }],
      (path) => path === 'docs/x.md',
      () => text,
    );
    expect(dead).toEqual(['docs/x.md: other.md', 'docs/x.md: #b', 'docs/x.md: d.svg']);
    expect(anchorsOf('# A `b-c`: d, e?\n## A\n## A\n')).toEqual(['a-b-c-d-e', 'a', 'a-1']);
  });

  test('every page of docs/ is in its index', () => {
    const names = readdirSync(join(REPOSITORY, 'docs')).filter(
      (name) => name.endsWith('.md') && name !== 'README.md',
    );
    expect(names.filter((name) => !page('docs/README.md').includes(`(${name})`))).toEqual([]);
  });
});

/** Paths of this repository in code spans and blocks. */
function pathsIn(text: string): string[] {
  const places = [...codeSpans(text), ...blocksOf(text).map((block) => block.text)].join('\n');
  const found = places.matchAll(/(?<![\w./-])(?:src|test|docs|native-tools|fixtures)\/[\w./-]*\w/g);
  return [...found]
    .map((match) => match[0])
    .filter((path) => !path.includes('NAME') && !path.includes('qcow2'));
}

describe('files and scripts', () => {
  test('every path exists', () => {
    expect(pathsIn('`src/errors.ts` and `xsrc/a` and `docs/`')).toEqual(['src/errors.ts']);
    expect(missing(pathsIn, exists)).toEqual([]);
  });

  test('both pages that show the house have all of its rooms', () => {
    const rooms = readdirSync(join(REPOSITORY, 'src'));
    expect(rooms).toContain('host');
    const house = /^src\/\n[\s\S]*?^native-tools/m.exec(page('docs/design.md'))?.[0] ?? '';
    const shown = house.split(/[\s/]+/);
    expect(rooms.filter((room) => !shown.includes(room))).toEqual([]);
    expect(rooms.filter((room) => !page('CONTRIBUTING.md').includes(`\`${room}\``))).toEqual([]);
  });

  test('every script of npm exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = (text: string) => [...text.matchAll(/npm run ([\w:-]+)/g)].map((match) => match[1] ?? '');
    expect(missing(named, (name) => name in scripts)).toEqual([]);
    expect(named(page('CONTRIBUTING.md')).length).toBeGreaterThan(5);
  });
});

/** Options of other programs that the pages name. */
const FOREIGN_OPTIONS = new Set([
  '--punch-hole',
  '--zeroout',
  '--check',
  '--dev',
  '--full',
  '--quick',
  '--server',
  '--case',
  '--coverage',
  '--show-keys',
]);

describe('options, findings, fields', () => {
  test('every option exists', async () => {
    const tree = realTree();
    const known = new Set(allCommands(tree).flatMap(({ options }) => options.flatMap(({ names }) => names)));
    // commander keeps both long names of `--pool, --url` in one.
    for (const name of ['--pool', '--url', '--help', '--version']) known.add(name);
    const named = (text: string) =>
      codeSpans(text).flatMap((span) =>
        [...span.matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)].map((match) => match[0]),
      );
    expect(named('`a --x-y z` --no')).toEqual(['--x-y']);
    expect(missing(named, (name) => known.has(name) || FOREIGN_OPTIONS.has(name))).toEqual([]);
    expect([...FOREIGN_OPTIONS].filter((name) => known.has(name) && name !== '--server')).toEqual([]);
  });

  test('every command line in a sentence would be taken', async () => {
    const spans = pages.flatMap(({ path, text }) =>
      codeSpans(text)
        .filter((span) => /^patch-vdi \w/.test(span) && !/[…|]/.test(span))
        .map((span) => ({ path, words: span.split(' ').slice(1) })),
    );
    const faults: string[] = [];
    for (const { path, words } of spans) {
      const fault = await parseFault(words);
      // The name of a command alone stands for it.
      if (fault !== undefined && !/missing required argument|required option/.test(fault))
        faults.push(`${path}: ${words.join(' ')}: ${fault}`);
    }
    expect(faults).toEqual([]);
    expect(spans.length).toBeGreaterThan(20);
    expect(await parseFault(['build', 'x', '--nonsense'])).toContain('--nonsense');
  });

  test('every finding and every fault exists', () => {
    const known = new Set([...Object.keys(FINDING_CODES), ...FAULTS.map(({ name }) => name)]);
    const named = (text: string) =>
      codeSpans(text).filter((span) =>
        /^(?:vhd|patch|payload|superblock|journal|group|inode|directory|orphan|filesystem)-[a-z0-9-]+$/.test(
          span,
        ),
      );
    const others = new Set(['patch-vdi', 'vhd-fixed', 'vhd-differencing', 'vhd-lib']);
    expect(
      missing(named, (name) => known.has(name) || others.has(name) || name.startsWith('vhd-lib-')),
    ).toEqual([]);
    expect(named(page('docs/troubleshooting.md'))).toContain('vhd-and-raw');
  });

  test('every field in docs/formats.md is in a table of the source', () => {
    const tables = Object.values({ ...ext, ...vhd }).filter(
      (value) => typeof value === 'object' && value !== null && 'rows' in value,
    );
    const fields = new Set(tables.flatMap((table) => Object.keys((table as { rows: object }).rows)));
    const named = codeSpans(page('docs/formats.md')).filter((span) =>
      /^(?:s|bg|i|l_i|eh|ee|ei)_[a-z_]+$|^[a-z]+(?:_[a-z]+)+$/.test(span),
    );
    const features = new Set(['inline_data', 'uninit_bg', 'metadata_csum', 'has_journal', '_extra']);
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((name) => !fields.has(name) && !features.has(name))).toEqual([]);
    expect(fields.has('s_magic') && fields.has('creator_application')).toBe(true);
  });

  test('every variable of ours is one that is read', () => {
    const known = new Set(ENVIRONMENT.map(([name]) => name));
    const named = (text: string) => [...text.matchAll(/\bPATCH_VDI_[A-Z_]+/g)].map((match) => match[0]);
    expect(missing(named, (name) => known.has(name))).toEqual([]);
  });
});

describe('errors', () => {
  const kinds = Object.keys(DEFAULT_LEFT_BEHIND) as ErrorKind[];

  test('the table of the README has every exit code, with its kind', () => {
    const rows = [...page('README.md').matchAll(/^\| ([\d, ]+?) +\| (\w*) +\|.*\|$/gm)];
    const table = rows.flatMap(([, codes = '', kind = '']) =>
      codes.split(', ').map((code) => [Number(code), kind]),
    );
    const expected = EXIT_MEANINGS.map(([code]) => {
      const kind =
        code > 128 ? 'interrupted' : (kinds.find((one) => exitCodeFor(one, undefined) === code) ?? '');
      return [code, kind];
    });
    expect(table.sort((a, b) => Number(a[0]) - Number(b[0]))).toEqual(expected);
  });

  test('docs/troubleshooting.md has a section for each kind, with its exit code', () => {
    const headings = [...page('docs/troubleshooting.md').matchAll(/^## (\w+) \(([\d, ]+)\)$/gm)].map(
      ([, kind, codes]) => [kind, codes],
    );
    const codesOf = (kind: ErrorKind) =>
      kind === 'interrupted' ? '129, 130, 143' : String(exitCodeFor(kind, undefined));
    expect(headings).toEqual(kinds.map((kind) => [kind, codesOf(kind)]));
  });

  test('the words that it quotes are those of the source', () => {
    const names = readdirSync(join(REPOSITORY, 'src'), { recursive: true, encoding: 'utf8' });
    const source = names
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(join('src', name)))
      .join('\n');
    /** Capitals stand for what differs. */
    const isSaid = (words: string): boolean => {
      const pattern = words
        .replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
        .replaceAll(/\b[A-Z]{4,}\b/g, String.raw`\$\{.{1,60}\}`);
      return (
        new RegExp(`['\`]${pattern}['\`]`).test(source) ||
        new RegExp(`['\`]\\$\\{option\\}${pattern.replace(/^--[a-z-]+/, '')}['\`]`).test(source)
      );
    };
    const cells = [...page('docs/troubleshooting.md').matchAll(/^\| (.*?) \|/gm)].map(
      (match) => match[1] ?? '',
    );
    const quoted = cells.flatMap(codeSpans).filter((words) => / .* /.test(words));
    expect(quoted.length).toBeGreaterThan(35);
    expect(quoted.filter((words) => !isSaid(words))).toEqual([]);
    expect(isSaid('the output exists already')).toBe(true);
    expect(isSaid('the output exists perhaps')).toBe(false);
  });
});
