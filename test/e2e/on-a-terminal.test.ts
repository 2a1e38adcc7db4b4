import { writeFileSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { clean } from '../oracles/e2fsck.js';
import { requireTool } from '../oracles/require-tool.js';
import { expectNothingLeft, processesUsing } from './cli.js';
import { drawnLines, HIDE_CURSOR, SHOW_CURSOR, startOnTerminal, type Session } from './terminal.js';
import { MIB, writeUpload } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'script', 'stty', 'bash'));

/** An upload of 4 MiB that takes a second to come. */
function slowly(work: Workspace): string {
  writeUpload(`${work.folder}/upload`, 4 * MIB);
  return '(head -c 3145728; sleep 1; cat) < upload';
}

/**
 * Runs a command whose upload of 4 MiB stops before the last one, until a line was drawn: however slow the machine is,
 * there is something to see in between.
 */
async function endedAfter(line: RegExp, work: Workspace, command: string, settings = ''): Promise<Session> {
  writeUpload(`${work.folder}/upload`, 4 * MIB);
  const upload = '(head -c 3145728; until [ -e go ]; do sleep 0.05; done; cat) < upload';
  const run = startOnTerminal(work, `${settings}${upload} | ${command}`);
  await expect
    .poll(() => drawnLines(run.output()).some((one) => line.test(one)), { message: `${line}` })
    .toBe(true);
  writeFileSync(`${work.folder}/go`, '');
  return await run.ended;
}

const BUILD = 'patch-vdi build - --content-length 4194304 --allow-unsigned';
const BAR = /(writing|receiving) \[[#-]+\] \d+%/;

function expectFits(output: string): void {
  expect(drawnLines(output).filter((line) => line.length > 80)).toEqual([]);
}

/** Hidden for the bar, it is shown again. */
function expectCursor(output: string): void {
  expect(output).toContain(HIDE_CURSOR);
  expect(output.lastIndexOf(SHOW_CURSOR)).toBeGreaterThan(output.lastIndexOf(HIDE_CURSOR));
}

test('a bar with amount, rate and time left, then a summary, all within 80 columns', async () => {
  const work = workspace();
  const middle = /^writing \[#+-+\] 75% +3 MiB \/ 4 MiB +[\d.]+ [KM]?i?B\/s +\d\d:\d\d/;
  const { exitCode, output } = await endedAfter(middle, work, `${BUILD} -o out/x.raw`);
  expect(exitCode, output).toBe(0);
  const bars = drawnLines(output).filter((line) => BAR.test(line));
  expect(bars.at(-1)).toMatch(/^writing \[#+\] 100% +4 MiB \/ 4 MiB/);
  expect(output).toContain('built raw image');
  expect(output.lastIndexOf('built raw image')).toBeGreaterThan(output.lastIndexOf('writing ['));
  expectFits(output);
  expectCursor(output);
  clean(work.output('x.raw'));
  expectNothingLeft(work);
});

test('an upload that is kept first is received, then written', async () => {
  const work = workspace();
  const command = `${BUILD} --format raw | (sleep 1; cat) > out/x.raw`;
  const { exitCode, output } = await endedAfter(/^receiving \[/, work, command);
  expect(exitCode, output).toBe(0);
  expect(output).toContain('built raw image');
  expectFits(output);
  clean(work.output('x.raw'));
});

test('without a length the bar tells how much has come', async () => {
  const work = workspace();
  const command = 'patch-vdi build - --allow-unsigned --size 16M -o out/x.raw';
  const { exitCode, output } = await endedAfter(/^writing {2}3 MiB/, work, command);
  expect(exitCode, output).toBe(0);
  const bars = drawnLines(output).filter((line) => line.startsWith('writing'));
  expect(bars.filter((line) => /[%[\]]/.test(line))).toEqual([]);
  expectFits(output);
});

test.for([
  ['--no-progress', `${BUILD} -o out/x.raw --no-progress`],
  ['--json', `${BUILD} -o out/x.raw --json`],
  ['standard error elsewhere', `${BUILD} -o out/x.raw 2> stderr`],
] as const)('no bar with %s', async ([, command]) => {
  const work = workspace();
  const { exitCode, output } = await startOnTerminal(
    work,
    `${slowly(work)} | ${command}; code=$?; cat stderr 2> /dev/null; exit $code`,
  ).ended;
  expect(exitCode, output).toBe(0);
  expect(output).not.toMatch(/[^\P{Cc}\r\n]|#/u);
  expect(output).toMatch(/built raw image|"ok": true/);
});

/** Runs them all: what colours, what draws, what prints tables and errors. */
const COLOURFUL = `${BUILD} -o out/x.raw; patch-vdi inspect out/x.raw --map; patch-vdi inspect out/x.raw;
  patch-vdi verify out/x.raw --structure-only; patch-vdi test faults; patch-vdi --help; patch-vdi inspect nothing`;
const ESC = '\u001b';

test.for([
  ['NO_COLOR=1', false],
  ['NO_COLOR=0', false],
  ['NO_COLOR=1 FORCE_COLOR=1', false],
  ['TERM=dumb', false],
  ['NO_COLOR=', true],
  ['FORCE_COLOR=0', true],
] as const)('with %s: %s, there are control sequences', async ([setting, expected]) => {
  const work = workspace();
  const { output } = await endedAfter(/^writing \[#/, work, COLOURFUL, `export ${setting}; `);
  expect(output).toContain('superblock');
  expect(output).toContain('patch-vdi: ');
  expect(output.includes(ESC)).toBe(expected);
  if (!expected) expect(output).not.toMatch(/[^\P{Cc}\r\n]/u);
  // Node has words of its own for who sets both.
  expectFits(output.replaceAll(/^.*\(node:\d+\) Warning.*$/gm, ''));
});

test.for([
  ['', true, false],
  ['NO_COLOR=1', false, false],
  ['NO_COLOR=', true, false],
  ['TERM=dumb', false, false],
  ['FORCE_COLOR=1', true, true],
  ['FORCE_COLOR=0', false, false],
  ['FORCE_COLOR=false', false, false],
  ['FORCE_COLOR=', true, false],
  ['FORCE_COLOR=1 NO_COLOR=1', false, false],
  ['FORCE_COLOR=1 TERM=dumb', true, true],
] as const)('colours with "%s": %s on a terminal, %s in a pipe', async ([setting, onTerminal, inPipe]) => {
  const work = workspace();
  writeUpload(`${work.folder}/upload`, 4 * MIB);
  const build = 'patch-vdi build upload -o out/x.raw --allow-unsigned --quiet';
  const command = `export PATH ${setting}; patch-vdi inspect out/x.raw --map`;
  const { output } = await startOnTerminal(work, `${build}; ${command}; echo @@; ${command} | cat`).ended;
  const [direct = '', piped = ''] = output.split('@@');
  expect(direct).toContain('superblock');
  expect(piped).toContain('superblock');
  expect(direct.includes(`${ESC}[1;31m`)).toBe(onTerminal);
  expect(direct.includes(ESC)).toBe(onTerminal);
  expect(piped.includes(ESC)).toBe(inPipe);
});

test('nothing at all with --quiet', async () => {
  const work = workspace();
  const { exitCode, output } = await startOnTerminal(work, `${slowly(work)} | ${BUILD} -o out/x.raw --quiet`)
    .ended;
  expect({ exitCode, output }).toEqual({ exitCode: 0, output: '' });
});

test.for([
  [
    'an image for a terminal',
    'patch-vdi build session.sh --format vhd --allow-unsigned',
    'a disk image is not for a terminal',
  ],
  [
    'an upload from a terminal',
    'patch-vdi build - -o out/x.raw --allow-unsigned',
    'standard input is a terminal',
  ],
  [
    'a plan for an upload from a terminal',
    'patch-vdi plan - --format raw',
    'a plan needs the length of the upload',
  ],
] as const)('%s is refused', async ([, command, says]) => {
  const work = workspace();
  const { exitCode, output } = await startOnTerminal(work, command).ended;
  expect(exitCode, output).toBe(2);
  expect(output).toContain(says);
  expect(output).toContain('expected');
  expectFits(output);
  expect(work.outputs()).toEqual([]);
  expectNothingLeft(work);
});

test('Ctrl-C ends a build, shows the cursor again and leaves nothing', async () => {
  const work = workspace();
  writeUpload(`${work.folder}/upload`, 4 * MIB);
  // The shell goes on to tell the exit code: Ctrl-C reaches it, too.
  const source = "trap : INT; (head -c 3145728; trap '' INT; sleep 100) < upload";
  const run = startOnTerminal(
    work,
    `${source} | ${BUILD} -o out/x.raw; echo "code \${PIPESTATUS[1]}"; kill $(jobs -p) 2> /dev/null`,
  );
  await expect.poll(run.output).toMatch(BAR);
  run.type('\u0003');
  await expect.poll(run.output).toContain('stopped by SIGINT');
  await expect.poll(() => work.outputs()).toEqual([]);
  await expect.poll(() => processesUsing(work.tmp)).toEqual([]);
  expectCursor(run.output());
  expectNothingLeft(work);
  run.hangUp();
});

test('a terminal that is closed ends a build, and nothing is left', async () => {
  const work = workspace();
  writeUpload(`${work.folder}/upload`, 4 * MIB);
  const run = startOnTerminal(work, `(head -c 3145728; exec sleep 20) < upload | ${BUILD} -o out/x.raw`);
  await expect.poll(run.output).toMatch(BAR);
  run.hangUp();
  await expect.poll(() => work.outputs()).toEqual([]);
  await expect.poll(() => expectNothingLeft(work)).toBeUndefined();
});
