import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expectCleanText, expectNothingLeft, mustBuild, runCli, startCli, type Ended } from '../e2e/cli.js';
import { makePipe } from '../e2e/pipes.js';
import { MIB, writeUpload } from '../e2e/uploads.js';
import { FORMATS } from '../e2e/ways-to-build.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { clean } from '../oracles/e2fsck.js';

/** Runs with a program behind standard output or standard error that reads as much as it likes. */
async function runInto(
  work: Workspace,
  args: readonly string[],
  reader: readonly string[],
  stream: 'stdout' | 'stderr',
): Promise<Ended> {
  const pipe = makePipe();
  const [program = '', ...rest] = reader;
  const child = spawn(program, rest, { stdio: [pipe.readFd, 'ignore', 'ignore'] });
  const closed = new Promise((done) => child.once('close', done));
  const { ended } = startCli(work, args, { [stream]: pipe.writeFd });
  pipe.closeRead();
  pipe.closeWrite();
  const result = await ended;
  await closed;
  expectNothingLeft(work);
  return result;
}

const READERS = [['head', '-c', '100'], ['head', '-c', '3000000'], ['true']] as const;

test.for(FORMATS.flatMap((format) => READERS.map((reader) => [format, reader] as const)))(
  '%s | %j: exit code 8, no stack trace',
  async ([format, reader]) => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/upload`, 12 * MIB);
    const args = ['build', upload, '--format', format, '--allow-unsigned'];
    const { exitCode, stderr } = await runInto(work, args, reader, 'stdout');
    expect(exitCode, stderr).toBe(8);
    expect(stderr).toContain('the reader of the output went away');
    expectCleanText(stderr);
  },
);

test('a slow reader gets everything', async () => {
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 5 * MIB);
  const image = work.output('x.raw');
  const args = ['build', upload, '--format', 'raw', '--allow-unsigned'];
  const { exitCode, stderr } = await runInto(
    work,
    args,
    ['sh', '-c', 'sleep 1; exec cat > "$1"', 'sh', image],
    'stdout',
  );
  expect(exitCode, stderr).toBe(0);
  clean(image);
});

test.for([['true'], ['head', '-c', '10']])('help | %j is no error', async (reader) => {
  const { exitCode, stderr } = await runInto(workspace(), ['build', '--help'], reader, 'stdout');
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
});

const SUMMARIES = [
  ['for people', []],
  ['in JSON', ['--json']],
] as const;

test.for(SUMMARIES)('a reader of the summary %s that goes away does not harm the image', async ([, more]) => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const image = work.output('x.raw');
  const args = ['build', upload, '-o', image, '--allow-unsigned', ...more];
  const { stderr } = await runInto(work, args, ['true'], 'stdout');
  expectCleanText(stderr);
  clean(image);
});

test.for(FORMATS)('a reader of the messages that goes away does not harm the %s image', async (format) => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const pipe = makePipe();
  pipe.closeRead();
  const image = work.output('image');
  const fd = openSync(image, 'w');
  const args = ['build', upload, '--format', format, '--allow-unsigned'];
  const { ended } = startCli(work, args, {
    stdout: fd,
    stderr: pipe.writeFd,
    env: { NODE_DEBUG: 'patch-vdi' },
  });
  closeSync(fd);
  pipe.closeWrite();
  expect(await ended).toMatchObject({ exitCode: 0, signal: null });
  expectNothingLeft(work);
  if (format === 'raw') clean(image);
});

test('an error that nobody can read keeps its exit code', async () => {
  const work = workspace();
  const { exitCode } = await runInto(
    work,
    ['build', '/nonexistent', '-o', work.output('x.raw'), '--allow-unsigned'],
    ['true'],
    'stderr',
  );
  expect(exitCode).toBe(2);
});

/** Descriptors on /dev/full: every write fails. */
function startOnFullDisk(
  work: Workspace,
  args: readonly string[],
  stream: 'stdout' | 'stderr',
): Promise<Ended> {
  const fd = openSync('/dev/full', 'w');
  const { ended } = startCli(work, args, { [stream]: fd });
  closeSync(fd);
  return ended;
}

test.for(SUMMARIES)(
  'a summary %s that cannot be written: the image is there, the exit code tells',
  async ([, more]) => {
    const work = workspace();
    const upload = work.input('upload', 'x');
    const image = work.output('x.raw');
    const { exitCode, stderr } = await startOnFullDisk(
      work,
      ['build', upload, '-o', image, '--allow-unsigned', ...more],
      'stdout',
    );
    expect(exitCode, stderr).toBe(8);
    expect(stderr).toContain('standard output');
    expectCleanText(stderr);
    clean(image);
    expect(readdirSync(work.tmp)).toEqual([]);
  },
);

test('a plan that cannot be written', async () => {
  const work = workspace();
  const { exitCode, stderr } = await startOnFullDisk(
    work,
    ['plan', work.input('u', 'x'), '--format', 'raw'],
    'stdout',
  );
  expect(exitCode, stderr).toBe(8);
  expectCleanText(stderr);
});

test('messages that cannot be written do not harm the image', async () => {
  const work = workspace();
  const image = work.output('x.raw');
  const args = ['build', work.input('u', 'x'), '-o', image, '--allow-unsigned'];
  const good = await startOnFullDisk(work, args, 'stderr');
  expect(good.exitCode).toBe(0);
  clean(image);
  const bad = await startOnFullDisk(work, ['build', '/nonexistent', ...args.slice(2)], 'stderr');
  expect(bad.exitCode).toBe(2);
});

test('standard descriptors that are closed', async () => {
  const work = workspace();
  const image = work.output('x.raw');
  const wrapper = ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'];
  await mustBuild(work, [work.input('u', 'x'), '-o', image, '--allow-unsigned'], { wrapper });
  clean(image);
  const silent = await runCli(work, ['build', '-', '-o', work.output('y.raw'), '--allow-unsigned'], {
    wrapper,
  });
  expect(silent.exitCode).toBe(4);
});
