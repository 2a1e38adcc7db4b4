import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expectCleanText, runCli, startCli, type Ended, type Way } from './cli.js';
import { feed, pieces, startFed } from './feeding.js';
import type { ImageFormat } from './judges/importer.js';
import { expectNoOutput, expectUselessOutput } from './judges/nothing-usable.js';
import { requireImageJudges } from './judges/patch-disk.js';
import { makePipe } from './pipes.js';
import { MIB, uploadBytes, writeUpload } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

const SENT = 3 * MIB + 17;

/** Builds from a pipe that brings SENT bytes, whatever was announced; the image goes to a file or behind `>`. */
async function buildAnnounced(
  work: Workspace,
  announced: number,
  format: ImageFormat,
  sink: 'file' | Way,
): Promise<Ended> {
  const upload = work.input('upload', uploadBytes(SENT));
  const image = work.output(`x.${format}`);
  const output = sink === 'file' ? ['-o', image] : ['--format', format];
  return await runCli(
    work,
    ['build', '-', ...output, '--allow-unsigned', '--content-length', String(announced)],
    {
      stdin: { path: upload, through: 'pipe' },
      ...(sink === 'file' ? {} : { stdout: { path: image, through: sink } }),
    },
  );
}

const SINKS = ['file', 'pipe', 'redirection'] as const;
const CASES = [
  ['one byte short', SENT + 1],
  ['much too short', 4 * SENT],
  ['one byte long', SENT - 1],
  ['much too long', 1000],
].flatMap(([what, announced]) =>
  FORMATS.flatMap((format) => SINKS.map((sink) => [what, Number(announced), format, sink] as const)),
);

test.for(CASES)('%s (announced: %i bytes), %s to a %s', async ([what, announced, format, sink], context) => {
  requireImageJudges(context);
  const work = workspace();
  const { exitCode, stderr } = await buildAnnounced(work, announced, format, sink);
  expect(exitCode).toBe(4);
  expect(stderr).toMatch(String(what).includes('short') ? /ended too early/ : /longer than announced/);
  expect(stderr).toContain(`${announced} bytes`);
  if (String(what).includes('short')) expect(stderr).toContain(`${SENT} bytes`);
  if (sink === 'file') expectNoOutput(work);
  else await expectUselessOutput(work.output(`x.${format}`), format);
});

test.for(FORMATS)('a writer that is killed in the middle, %s', async (format) => {
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 4 * MIB);
  const pipe = makePipe();
  const fd = openSync(upload, 'r');
  // Sends one MiB, then waits for ever.
  const writer = spawn('sh', ['-c', 'head -c 1048576; sleep 100'], {
    stdio: [fd, pipe.writeFd, 'ignore'],
    detached: true,
  });
  closeSync(fd);
  pipe.closeWrite();
  const image = work.output(`x.${format}`);
  const args = ['build', '-', '-o', image, '--allow-unsigned', '--content-length', String(4 * MIB)];
  const { ended } = startCli(work, args, { stdin: pipe.readFd });
  pipe.closeRead();
  await expect.poll(() => work.outputs().length).toBe(1);
  process.kill(-(writer.pid ?? 0), 'SIGKILL');
  const { exitCode, stderr } = await ended;
  expect(exitCode).toBe(4);
  expect(stderr).toContain('ended too early');
  expect(stderr).toContain('4194304 bytes');
  expectCleanText(stderr);
  expectNoOutput(work);
});

test.for([
  ['an empty file', (work: Workspace) => runCli(work, build(work, work.input('empty', '')))],
  ['an empty pipe', (work: Workspace) => feed(startFed(work, build(work, '-')), [])],
  [
    'an empty pipe that announced bytes',
    (work: Workspace) => feed(startFed(work, [...build(work, '-'), '--content-length', '5']), []),
  ],
  [
    'an empty pipe that announced none',
    (work: Workspace) => feed(startFed(work, [...build(work, '-'), '--content-length', '0']), []),
  ],
  ['no standard input', (work: Workspace) => runCli(work, build(work, '-'))],
  [
    'a redirected empty file',
    (work: Workspace) =>
      runCli(work, build(work, '-'), { stdin: { path: work.input('empty', ''), through: 'redirection' } }),
  ],
] as const)('%s is an error and leaves nothing', async ([, run]) => {
  const work = workspace();
  const { exitCode, stderr } = await run(work);
  expect(exitCode).toBe(4);
  expect(stderr).toContain('the upload is empty');
  expectCleanText(stderr);
  expectNoOutput(work);
});

function build(work: Workspace, upload: string): string[] {
  return ['build', upload, '-o', work.output('x.vhd'), '--allow-unsigned'];
}

test.for([
  ['a name that does not exist', (work: Workspace) => `${work.folder}/missing`, 'ENOENT'],
  ['a folder', (work: Workspace) => work.folder, 'folder'],
  ['a name below a file', (work: Workspace) => `${work.input('file', 'x')}/upload`, 'ENOTDIR'],
] as const)('%s is no upload', async ([, name, found]) => {
  const work = workspace();
  const { exitCode, stderr } = await runCli(work, build(work, name(work)));
  expect(exitCode).toBe(2);
  expect(stderr).toContain('the upload cannot be opened');
  expect(stderr).toContain(found);
  expectNoOutput(work);
});

test('a redirected file does not have the announced length', async () => {
  const work = workspace();
  const upload = work.input('upload', 'twelve bytes');
  const { exitCode, stderr } = await runCli(work, [...build(work, '-'), '--content-length', '13'], {
    stdin: { path: upload, through: 'redirection' },
  });
  expect(exitCode).toBe(2);
  expect(stderr).toContain('12 bytes');
  expect(stderr).toContain('13 bytes');
  expectNoOutput(work);
});

test('one byte at a time, and then no more', async () => {
  const work = workspace();
  const fed = startFed(work, [...build(work, '-'), '--content-length', '300']);
  const { exitCode, stderr } = await feed(fed, pieces(uploadBytes(299), [1]));
  expect(exitCode).toBe(4);
  expect(stderr).toContain('299 bytes');
  expectNoOutput(work);
});
