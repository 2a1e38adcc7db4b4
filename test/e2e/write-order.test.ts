import { readFileSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { mustBuild } from './cli.js';
import { MIB, uploadBytes } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

/*
 * What the kernel is asked for, in which order: strace(1) is the judge. Without these barriers a crash of the machine
 * could leave a superblock before what it promises, or a final name before the file.
 */

beforeEach((context) => requireTool(context, 'strace'));

interface SystemCall {
  readonly name: string;
  readonly args: string;
  /** Lines of the trace in which it starts and ends; other threads go on in between. */
  readonly start: number;
  readonly end: number;
}

/** The calls of all threads, in the order of their starts, failed ones left out. */
function parseTrace(text: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const unfinished = new Map<string, { name: string; args: string; start: number }>();
  for (const [line, words] of text.split('\n').entries()) {
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)/.exec(words);
    const begun = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/.exec(words);
    const whole = /^(\d+) +(\w+)\((.*)\) += (-?\d+)/.exec(words);
    if (resumed !== null) {
      const [, thread = '', name = '', rest = '', result] = resumed;
      const before = unfinished.get(`${thread} ${name}`);
      if (before !== undefined && result !== '-1')
        calls.push({ ...before, args: before.args + rest, end: line });
    } else if (begun !== null) {
      const [, thread = '', name = '', args = ''] = begun;
      unfinished.set(`${thread} ${name}`, { name, args, start: line });
    } else if (whole !== null && whole[4] !== '-1') {
      calls.push({ name: whole[2] ?? '', args: whole[3] ?? '', start: line, end: line });
    }
  }
  return calls.sort((a, b) => a.start - b.start);
}

/** Builds under strace; the calls that concern the output, its temporary name, or its folder. */
async function traceBuild(work: Workspace, format: string, ...args: string[]): Promise<SystemCall[]> {
  const upload = work.input('upload', uploadBytes(2 * MIB + 5));
  const log = `${work.folder}/strace`;
  const calls =
    'write,pwrite64,pwritev,fsync,fdatasync,sync_file_range,link,linkat,unlink,unlinkat,rename,renameat,renameat2,ftruncate';
  const wrapper = ['strace', '-f', '-y', '-s', '0', '-e', `trace=${calls}`, '-e', 'signal=none', '-o', log];
  await mustBuild(work, [upload, '-o', work.output(`x.${format}`), '--allow-unsigned', '--quiet', ...args], {
    wrapper,
  });
  return parseTrace(readFileSync(log, 'utf8')).filter(({ args: words }) => words.includes(work.out));
}

const isWrite = ({ name }: SystemCall): boolean => name.includes('write');
const offsetOf = ({ args }: SystemCall): number => Number(/, (\d+)$/.exec(args)?.[1]);

/** Where the block with the superblock starts in the output. */
function sealOffset(work: Workspace, format: string): number {
  if (format === 'raw') return 0;
  // The first entry of the BAT, which follows footer and header: the sector of the bitmap of virtual block 0.
  return readFileSync(work.output('x.vhd')).readUInt32BE(1536) * 512;
}

test.for(FORMATS)('%s: writes, fsync, seal, fsync, link, unlink, fsync of the folder', async (format) => {
  const work = workspace();
  const calls = await traceBuild(work, format);
  const [body, ...barriers] = calls.filter(({ name }) => name === 'fsync');
  const [whole, folder] = barriers;
  const link = calls.find(({ name }) => name.startsWith('link'));
  const unlink = calls.find(({ name }) => name.startsWith('unlink'));
  if (!body || !whole || !folder || !link || !unlink) throw new Error(JSON.stringify(calls, undefined, 1));
  expect(barriers).toHaveLength(2);

  const writes = calls.filter(isWrite);
  const before = writes.filter(({ start }) => start < body.start);
  const after = writes.filter(({ start }) => start > body.start);
  expect(before.length).toBeGreaterThan(3);
  expect(after.length).toBeGreaterThan(0);

  // Nothing of the block with the superblock is written before all else is stored, and nothing else afterwards.
  const seal = sealOffset(work, format);
  const inSeal = (call: SystemCall): boolean =>
    format === 'raw' ? offsetOf(call) < 4096 : offsetOf(call) >= seal - 4096;
  expect(before.filter(inSeal)).toEqual([]);
  expect(after.filter((call) => !inSeal(call))).toEqual([]);

  // Each step is over before the next one starts.
  const steps = [
    ...before.map((call) => [call, body] as const),
    ...after.map((call) => [body, call] as const),
  ];
  for (const call of [...after, ...calls.filter(({ name }) => name === 'ftruncate')])
    steps.push([call, whole]);
  steps.push([whole, link], [link, unlink], [unlink, folder]);
  for (const [first, second] of steps)
    expect(first.end, JSON.stringify([first, second])).toBeLessThan(second.start);

  expect(link.args).toMatch(/\.tmp", .*\/out\/x\.(raw|vhd)"/);
  expect(unlink.args).toContain('.tmp"');
  expect(folder.args).toMatch(/\/out>$/);
  expect(calls.filter(({ name }) => name.startsWith('rename'))).toEqual([]);
});

test('--force: a rename in place of link and unlink', async () => {
  const work = workspace();
  const calls = await traceBuild(work, 'raw', '--force');
  const names = calls.filter((call) => !isWrite(call)).map(({ name }) => name.replace(/at2?$/, ''));
  expect(names).toEqual(['fsync', 'ftruncate', 'fsync', 'rename', 'fsync']);
});

test('the judge sees calls that overlap and calls that fail', () => {
  const trace = [
    '10 fsync(3</a> <unfinished ...>',
    '11 pwrite64(3</a>, ""..., 4096, 8192) = 4096',
    '10 <... fsync resumed>) = 0',
    '11 link("/a", "/b") = -1 EEXIST (File exists)',
  ];
  expect(parseTrace(trace.join('\n'))).toEqual([
    { name: 'fsync', args: '3</a>', start: 0, end: 2 },
    { name: 'pwrite64', args: '3</a>, ""..., 4096, 8192', start: 1, end: 1 },
  ]);
});
