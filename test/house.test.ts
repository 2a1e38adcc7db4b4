import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FLOORS, houseFaults, importsOf, tooLong, type SourceFile } from './oracles/house-rules.js';

const PROJECT = join(import.meta.dirname, '..');
const SRC = join(PROJECT, 'src');

function sourceFiles(): SourceFile[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path: path.replaceAll(sep, '/'), text: readFileSync(join(SRC, path), 'utf8') }));
}

describe('the house', () => {
  test('keeps its rules', () => {
    expect(houseFaults(sourceFiles())).toEqual([]);
  });

  test('was really looked at: its files have imports of each kind', () => {
    const files = sourceFiles();
    const imports = new Set(files.flatMap(({ text }) => importsOf(text)));
    expect(files.length).toBeGreaterThan(50);
    expect([...imports]).toEqual(
      expect.arrayContaining(['execa', 'commander', 'node:fs', '../errors.js', './build/build-image.js']),
    );
  });

  test('has nothing but TypeScript in it', () => {
    const others = readdirSync(SRC, { recursive: true, withFileTypes: true }).filter(
      (entry) => entry.isFile() && !entry.name.endsWith('.ts'),
    );
    expect(others.map(({ name }) => name)).toEqual([]);
  });
});

/** Programs and tests outside of src/, with their paths in the project. */
function otherFiles(): SourceFile[] {
  const tests = readdirSync(join(PROJECT, 'test'), { recursive: true, encoding: 'utf8' });
  const names = [...readdirSync(PROJECT), ...tests.map((name) => join('test', name))];
  return names
    .filter((name) => /\.(?:ts|mjs|sh)$/.test(name))
    .map((path) => ({ path: path.replaceAll(sep, '/'), text: readFileSync(join(PROJECT, path), 'utf8') }));
}

describe('tests and programs', () => {
  test('say why they are long', () => {
    expect(otherFiles().length).toBeGreaterThan(300);
    expect(tooLong(otherFiles())).toEqual([]);
  });

  test('would be found if they did not', () => {
    const long = { path: 'test/a.mjs', text: 'export const x = 1;\n'.repeat(301) };
    expect(tooLong([long])).toEqual(['test/a.mjs: has more than 300 lines and no reason at its top']);
  });
});

describe('the plan of the house in the documentation', () => {
  /** Rooms, line by line, of every block that begins with `src/`. */
  function plansIn(page: string): string[][][] {
    const blocks = page.matchAll(/^```\w*\nsrc\/\n((?: {2}.*\n)+)/gm);
    return [...blocks].map(([, lines = '']) =>
      lines
        .trimEnd()
        .split('\n')
        .map((line) => [...line.matchAll(/(?<=^| )([a-z-]+)(?:\/|(\.ts))(?= |$)/g)])
        .map((rooms) => rooms.map(([, name = '', ending = '']) => name + ending)),
    );
  }
  /** Rooms that are missing, unknown, or drawn on the floor of another. */
  function planFaults(lines: readonly (readonly string[])[]): string[] {
    const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room));
    const drawn = lines.flat();
    const missing = FLOORS.flat().filter((room) => !drawn.includes(room));
    const unknown = drawn.filter((room) => floorOf(room) === -1);
    // Files beside the folders stand on one line, whatever their floors.
    const folders = lines.filter((rooms) => rooms.some((room) => !room.endsWith('.ts')));
    const floors = folders.map((rooms) => rooms.map(floorOf));
    const spread = folders.filter((_, at) => new Set(floors[at]).size > 1).map((rooms) => rooms.join(' '));
    const upwards = folders.filter((_, at) => at > 0 && (floors[at]?.[0] ?? 0) < (floors[at - 1]?.[0] ?? 0));
    return [
      ...missing.map((room) => `${room} is missing`),
      ...unknown.map((room) => `${room} is no room`),
      ...spread.map((rooms) => `${rooms} are of several floors`),
      ...upwards.map((rooms) => `${rooms.join(' ')} is drawn too low`),
    ];
  }
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(PROJECT, 'docs')).map((name) => `docs/${name}`),
  ]
    .filter((name) => name.endsWith('.md') && existsSync(join(PROJECT, name)))
    .map((name) => readFileSync(join(PROJECT, name), 'utf8'));

  test('is the house', () => {
    const plans = pages.flatMap(plansIn);
    expect(plans.length, 'plans').toBeGreaterThan(0);
    for (const plan of plans) expect(planFaults(plan)).toEqual([]);
  });

  test('sabotage: another house', () => {
    const [plan = []] = pages.flatMap(plansIn);
    const flat = plan.flat();
    expect(planFaults(plan.filter((rooms) => !rooms.includes('plan')))).toContain('plan is missing');
    expect(planFaults([...plan, ['helpers']])).toContain('helpers is no room');
    expect(planFaults([flat])).toContainEqual(expect.stringMatching(/are of several floors$/));
    expect(planFaults(plan.toReversed()).join()).toMatch(/is drawn too low/);
  });
});

describe('the checker finds', () => {
  const longText = (top: string): string => `${top}${'export const x = 1;\n'.repeat(301)}`;

  test.each<[string, string, string, string]>([
    [
      'an import upwards',
      'ext/a.ts',
      `import { x } from '../plan/plan.js';`,
      'imports upwards or sideways, from plan',
    ],
    [
      'one of a type',
      'tools/a.ts',
      `import type { X } from '../io/sink.js';`,
      'imports upwards or sideways, from io',
    ],
    [
      'one across a floor',
      'plan/a.ts',
      `import { x } from '../signature/policy.js';`,
      'imports upwards or sideways, from signature',
    ],
    [
      'one across the other way',
      'vhd/a.ts',
      `import { x } from '../ext/layout.js';`,
      'imports upwards or sideways, from ext',
    ],
    [
      'a re-export upwards',
      'build/a.ts',
      `export { x } from '../cli/program.js';`,
      'imports upwards or sideways, from cli',
    ],
    [
      'a dynamic one',
      'io/a.ts',
      `const x = await import('../build/template.js');`,
      'imports upwards or sideways, from build',
    ],
    [
      'one of a type in a type',
      'io/a.ts',
      `type X = typeof import('../cli/text.js');`,
      'imports upwards or sideways, from cli',
    ],
    [
      'one over several lines',
      'tools/a.ts',
      `import {\n  a,\n  b,\n} from\n  '../io/sink.js';`,
      'imports upwards or sideways, from io',
    ],
    [
      'one of the top door',
      'cli/a.ts',
      `import { x } from '../index.js';`,
      'imports upwards or sideways, from index.ts',
    ],
    [
      'one on the ground floor',
      'errors.ts',
      `import { KIB } from './units.js';`,
      'imports upwards or sideways, from units.ts',
    ],
    [
      'a room that is not there',
      'io/a.ts',
      `import { x } from '../helpers/x.js';`,
      'imports from "helpers", which is no room of the house',
    ],
    ['a file in no room', 'helpers/a.ts', '', 'is in no room of the house'],
    [
      'execa outside tools',
      'io/a.ts',
      `import { execa } from 'execa';`,
      'imports execa, which only tools may',
    ],
    [
      'child_process outside tools',
      'cli/a.ts',
      `import { spawn } from "node:child_process";`,
      'imports node:child_process, which only tools may',
    ],
    [
      'a file system in plan',
      'plan/a.ts',
      `import { openSync } from 'node:fs';`,
      'imports node:fs: plan is pure',
    ],
    [
      'a stream in plan',
      'plan/a.ts',
      `import { Readable } from 'node:stream';`,
      'imports node:stream: plan is pure',
    ],
    ['a clock in plan', 'plan/a.ts', 'const now = Date.now();', 'looks at a clock: plan is pure'],
    [
      'another clock in plan',
      'plan/a.ts',
      'const now = performance.now();',
      'looks at a clock: plan is pure',
    ],
    [
      'the environment outside cli',
      'io/a.ts',
      `const x = process.env['HOME'];`,
      'reads argv or the environment, which only cli may',
    ],
    [
      'argv outside cli',
      'build/a.ts',
      'const [x] = process.argv;',
      'reads argv or the environment, which only cli may',
    ],
    ['an exit outside cli', 'build/a.ts', 'process.exit(1);', 'decides an exit code, which only cli may'],
    ['a default export', 'io/a.ts', 'export default function x() {}', 'has a default export'],
    ['a default export by name', 'io/a.ts', 'export { x as default };', 'has a default export'],
    [
      'a long file without a reason',
      'io/a.ts',
      longText(''),
      'has more than 300 lines and no reason at its top',
    ],
  ])('%s', (_name, path, text, fault) => {
    expect(houseFaults([{ path, text }])).toEqual([`${path}: ${fault}`]);
  });

  test.each<[string, string, string]>([
    [
      'an import downwards',
      'plan/a.ts',
      `import { x } from '../vhd/layout.js';\nimport { y } from '../errors.js';`,
    ],
    ['one within a room', 'plan/a.ts', `import { x } from './plan.js';`],
    ['execa in tools', 'tools/a.ts', `const { execa } = await import('execa');`],
    ['the environment in cli', 'cli/a.ts', `const x = process.env['HOME'];`],
    [
      'what only comments say',
      'plan/a.ts',
      `// import { x } from '../cli/a.js'\n/* process.env, Date.now() */`,
    ],
    ['a URL in a string', 'io/a.ts', `const x = 'https://example.org'; // no process.env here`],
    ['a long file with its reason', 'io/a.ts', longText('/* One table, best read as a whole. */\n')],
    ['a file of 300 lines', 'io/a.ts', 'export const x = 1;\n'.repeat(300)],
  ])('nothing wrong with %s', (_name, path, text) => {
    expect(houseFaults([{ path, text }])).toEqual([]);
  });
});
