/* What turns measurements into words: a report that says "met" by mistake is worse than none. */
import { expect, test } from 'vitest';

interface Written {
  readonly path: string;
  readonly bytes: number;
}

/** The benchmark is plain JavaScript, which runs without a build: its types are said here. */
const load = (name: string): Promise<unknown> => import(new URL(name, import.meta.url).href);
const { writtenBy } = (await load('audit.mjs')) as { writtenBy: (line: string) => Written | undefined };
const { verdictOn, targetSection } = (await load('targets.mjs')) as {
  verdictOn: (figure: number | undefined, target: { most?: number; least?: number }) => string;
  targetSection: (
    bench: { figures: ReadonlyMap<string, number>; quick: boolean },
    isWhole: boolean,
  ) => { rows: readonly (readonly string[])[]; notes: readonly string[] };
};
const { table, wrapped } = (await load('markdown.mjs')) as {
  table: (columns: readonly string[], rows: readonly (readonly string[])[]) => string;
  wrapped: (text: string, columns?: number) => string;
};
const { ratiosOf } = (await load('measure.mjs')) as {
  ratiosOf: (pairs: readonly { ours: number; peer: number }[]) => Record<string, number>;
};

test.each([
  ['write(3</tmp/a>, ""..., 4096) = 4096', { path: '/tmp/a', bytes: 4096 }],
  // What counts is what was written, not what was asked for.
  ['pwrite64(18</tmp/b c>, ""..., 65536, 402653184) = 512', { path: '/tmp/b c', bytes: 512 }],
  [
    'writev(4</tmp/a>, [{iov_base=""..., iov_len=8}, {iov_base=""..., iov_len=9}], 2) = 17',
    { path: '/tmp/a', bytes: 17 },
  ],
  [
    'copy_file_range(3</tmp/from>, NULL, 4</tmp/to>, NULL, 9223372035781033984, 0) = 1000',
    { path: '/tmp/to', bytes: 1000 },
  ],
  ['splice(0<pipe:[77]>, NULL, 4</tmp/to>, NULL, 65536, 0) = 65536', { path: '/tmp/to', bytes: 65_536 }],
  ['write(1<pipe:[123]>, ""..., 131072) = 131072', undefined],
  ['write(2</dev/null>, ""..., 10) = 10', undefined],
  ['write(3</tmp/a>, ""..., 4096) = -1 ENOSPC (No space left on device)', undefined],
  ['+++ exited with 0 +++', undefined],
])('strace says %s', (line, written) => {
  expect(writtenBy(line)).toEqual(written);
});

test.each([
  [1.2, { most: 1.2 }, 'met'],
  [1.201, { most: 1.2 }, 'missed by 1 %'],
  [2.4, { most: 1.2 }, 'missed by 100 %'],
  [0.8, { least: 0.8 }, 'met'],
  [0.6, { least: 0.8 }, 'missed by 25 %'],
  [undefined, { most: 1 }, 'not measured'],
])('%s for %o is %s', (figure, target, verdict) => {
  expect(verdictOn(figure, target)).toBe(verdict);
});

test('what is missed has its reason below, also when there is none', () => {
  const figures = new Map([
    ['build.unsigned.tmpfs', 1.21],
    ['memory.peak', 89],
    ['build.unknown-length', 1.5],
    ['extract.rate.vhd', 0.5],
    ['extract.rate.raw', 0.9],
  ]);
  const { rows, notes } = targetSection({ figures, quick: false }, false);
  expect(rows.map((row) => row[3])).toEqual([
    'missed by 1 %',
    'met',
    'missed by 43 %',
    'missed by 45 %',
    'met',
  ]);
  expect(notes).toEqual([
    expect.stringMatching(
      /^Missed: unsigned, at most 1\.20 x `cat > file` \(tmpfs\)\. What is missed is the start: /,
    ),
    'Missed: length unknown, at most 1.05 x known. Nobody has found out why.',
    expect.stringMatching(/^Missed: extract from a vhd, at least 0\.9 x the rate of cat\. .*copy_file_range/),
  ]);
});

test('ratios are of pairs, not of sums', () => {
  const pairs = [
    { ours: 1, peer: 2 },
    { ours: 30, peer: 10 },
    { ours: 4, peer: 4 },
  ];
  expect(ratiosOf(pairs)).toEqual({ middle: 1, lowest: 0.5, highest: 3 });
});

test('a table is aligned, and a bar in a cell does not end it', () => {
  expect(
    table(
      ['what', '>s'],
      [
        ['a | b', '1.00'],
        ['c', '10.00'],
      ],
    ),
  ).toBe(
    ['| what   |     s |', '| ------ | ----: |', '| a \\| b |  1.00 |', '| c      | 10.00 |'].join('\n'),
  );
});

test('words are broken into lines', () => {
  expect(wrapped('one two three four', 9)).toBe('one two\nthree\nfour');
});
