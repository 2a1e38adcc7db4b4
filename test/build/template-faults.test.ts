/*
 * mke2fs and debugfs exit 0 whatever happened, so nothing that they say, or do not say, is believed. Shell scripts
 * stand in for them here; whatever they do, the error is one of kind `tool` in their own words, and nothing stays.
 */
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { imageIdentity } from '../../src/build/identity.js';
import { Ext4Maker } from '../../src/build/ext4-maker.js';
import { isPatchVdiError } from '../../src/errors.js';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const PROGRAMS = ['mke2fs', 'debugfs', 'e2fsck'] as const;
type Program = (typeof PROGRAMS)[number];

beforeEach((context) => requireTool(context, ...PROGRAMS));

const identity = imageIdentity({ sourceDateEpoch: 1 }, []);
const banner = (program: Program, version = '1.47.0'): string =>
  `echo '${program} ${version} (5-Feb-2023)' >&2`;
const real = (program: Program): string => findProgram(program, DEFAULT_SEARCH_PATH) ?? program;

interface Bench {
  readonly temporary: string;
  readonly searchPath: readonly string[];
}

/** A search path with the real programs, but for those that a script stands in for. */
function benchWith(scripts: Partial<Record<Program, string>>): Bench {
  const folder = temporaryFolder();
  const [tools, temporary] = [join(folder, 'tools'), join(folder, 'tmp')];
  for (const path of [tools, temporary]) mkdirSync(path);
  for (const program of PROGRAMS) {
    const script = scripts[program];
    const path = join(tools, program);
    if (script === undefined) symlinkSync(real(program), path);
    else {
      writeFileSync(path, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
      chmodSync(path, 0o755);
    }
  }
  return { temporary, searchPath: [tools] };
}

/** Makes a template, waits for e2fsck's verdict, and removes everything. */
async function make({ temporary, searchPath }: Bench, announce: boolean): Promise<void> {
  const maker = await Ext4Maker.open(16 * MIB, {
    environment: { searchPath, temporaryFolder: temporary },
    epochSeconds: 1,
    abortSignal: undefined,
  });
  try {
    if (announce) await maker.announce();
    const template = await maker.make(5_000_000, identity);
    await template.checked;
  } finally {
    await maker.dispose();
  }
}

const WAYS = [
  ['with a probe', true],
  ['without a probe', false],
] as const;

describe.each(WAYS)('a template %s', (_way, announce) => {
  test('is made by the real programs, and removed', async () => {
    const bench = benchWith({});
    await expect(make(bench, announce)).resolves.toBeUndefined();
    expect(readdirSync(bench.temporary)).toEqual([]);
  });

  test.each<[string, Partial<Record<Program, string>>, RegExp]>([
    [
      'mke2fs prints an error and exits 0',
      { mke2fs: `${banner('mke2fs')}; echo 'no room at all' >&2` },
      /no room at all/,
    ],
    ['mke2fs does nothing and exits 0', { mke2fs: 'exit 0' }, /no message/],
    ['mke2fs shows its banner and does nothing', { mke2fs: banner('mke2fs') }, /s_magic 0x0/],
    ['mke2fs fails', { mke2fs: `${banner('mke2fs')}; exit 3` }, /exit code 3/],
    ['mke2fs is killed', { mke2fs: 'kill -9 $$' }, /SIGKILL/],
    [
      'debugfs prints an error and exits 0',
      { debugfs: `${real('debugfs')} "$@"; echo 'punch: oh dear' >&2` },
      /punch: oh dear/,
    ],
    ['debugfs does nothing and exits 0', { debugfs: 'exit 0' }, /no message/],
    ['debugfs shows its banner and does nothing', { debugfs: banner('debugfs') }, /^(size|mode) of patch /],
    [
      'debugfs punches nothing',
      { debugfs: `sed -i /punch/d "$3"; exec ${real('debugfs')} "$@"` },
      /^blocks of patch 1536$/,
    ],
    [
      'debugfs leaves a wrong size',
      { debugfs: `sed -i 's/size 5000000/size 4999999/' "$3"; exec ${real('debugfs')} "$@"` },
      /^size of patch 4999999$/,
    ],
    [
      'debugfs leaves a wrong mode',
      { debugfs: `sed -i 's/0100755/0100777/' "$3"; exec ${real('debugfs')} "$@"` },
      /^mode of patch 100777$/,
    ],
    [
      'debugfs leaves unwritten blocks',
      {
        debugfs: `echo 'punch /patch 5' >> "$3"; echo 'fallocate /patch 5 1220' >> "$3"; exec ${real('debugfs')} "$@"`,
      },
      /^runs of blocks in patch 2$|^unwritten extents/,
    ],
    [
      'e2fsck finds an error',
      { e2fsck: `${banner('e2fsck')}; echo 'Inode 7 has a bad day'; exit 4` },
      /Inode 7 has a bad day/,
    ],
    ['e2fsck does nothing and exits 0', { e2fsck: 'exit 0' }, /exit code 0/],
    ['e2fsck shows its banner and checks nothing', { e2fsck: banner('e2fsck') }, /^0 passes$/],
  ])('%s: an error of kind tool in its words, and nothing stays', async (_name, scripts, found) => {
    const bench = benchWith(scripts);
    await expect(make(bench, announce)).rejects.toMatchObject({
      kind: 'tool',
      context: { found: expect.stringMatching(found) as unknown },
    });
    expect(readdirSync(bench.temporary)).toEqual([]);
  });

  test.each<[Program, string]>([
    ['mke2fs', '1.42.9'],
    ['mke2fs', '1.44.99'],
    ['debugfs', '1.44.1'],
    ['e2fsck', '0.9'],
  ])('%s %s is too old, and the error says what was found and expected', async (program, version) => {
    const bench = benchWith({ [program]: banner(program, version) });
    await expect(make(bench, announce)).rejects.toMatchObject({
      kind: 'tool',
      message: `${program} is too old`,
      context: { found: `${program} ${version}`, expected: '1.45 or later' },
    });
    expect(readdirSync(bench.temporary)).toEqual([]);
  });
});

test('the version is told also by betas and by other distributions', async () => {
  const bench = benchWith({ mke2fs: `echo 'mke2fs 1.47.3-rc1 (1-Jan-2026)' >&2` });
  await expect(make(bench, false)).rejects.toMatchObject({
    context: { operation: 'read the template back' },
  });
});

test('a missing program is named, with the way to get it', async () => {
  const bench = { ...benchWith({}), searchPath: ['/nowhere'] };
  await expect(make(bench, true)).rejects.toMatchObject({ kind: 'tool', message: 'mke2fs was not found' });
  expect(readdirSync(bench.temporary)).toEqual([]);
});

test("the programs see a clean environment: nothing of the caller's, the time that was asked for", async () => {
  const bench = benchWith({ mke2fs: `env >&2; ${banner('mke2fs')}` });
  process.env['MKE2FS_SYNC'] = '7';
  try {
    const error: unknown = await make(bench, false).catch((thrown: unknown) => thrown);
    const words = isPatchVdiError(error) ? String(error.context.found) : '';
    expect(words).toContain('E2FSPROGS_FAKE_TIME=1');
    expect(words).toContain('LC_ALL=C');
    expect(words).toMatch(/MKE2FS_CONFIG=.*patch-vdi-template-/);
    expect(words).not.toContain('MKE2FS_SYNC');
  } finally {
    delete process.env['MKE2FS_SYNC'];
  }
});
