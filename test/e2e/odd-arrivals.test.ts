import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, read, readFileSync, truncateSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { dumpFile } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { requireTool } from '../oracles/require-tool.js';
import { expectNothingLeft, mustBuild, runCli, startCli } from './cli.js';
import { feed, pieces, startFed } from './feeding.js';
import { expectNoOutput, expectUselessOutput } from './judges/nothing-usable.js';
import { requireImageJudges } from './judges/patch-disk.js';
import { makePipe } from './pipes.js';
import { MIB, uploadBytes, writeUpload } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

const readAsync = promisify(read);

/** The payload of a finished raw image, read by debugfs. */
function payloadOf(work: Workspace, raw: string): Buffer {
  clean(raw);
  dumpFile(raw, '/patch', `${work.folder}/dumped`);
  return readFileSync(`${work.folder}/dumped`);
}

test.for([
  ['one byte at a time', 6007, [1]],
  ['odd chunks', 3 * MIB + 11, [1, 7, 4093, 65_537, 3, 511, 130_000]],
  ['chunks one byte off a block', 2 * MIB, [4095, 4097]],
  ['one large write', 5 * MIB + 3, [5 * MIB + 3]],
] as const)('an upload in %s', async ([, size, sizes], context) => {
  requireTool(context, 'e2fsck', 'debugfs');
  const work = workspace();
  const upload = uploadBytes(size);
  const raw = work.output('x.raw');
  const args = ['build', '-', '-o', raw, '--allow-unsigned', '--content-length', String(size)];
  const ended = await feed(startFed(work, args), pieces(upload, sizes));
  expect(ended, ended.stderr).toMatchObject({ exitCode: 0 });
  expect(payloadOf(work, raw).equals(upload)).toBe(true);
  expectNothingLeft(work);
});

test('from a named pipe whose writer comes late', async (context) => {
  requireTool(context, 'e2fsck', 'debugfs');
  const work = workspace();
  const upload = uploadBytes(300_000);
  const fifo = `${work.folder}/fifo`;
  expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
  const raw = work.output('x.raw');
  const args = ['build', fifo, '-o', raw, '--allow-unsigned', '--content-length', String(upload.length)];
  const { ended } = startCli(work, args);
  const writer = spawn('sh', ['-c', 'sleep 0.5; cat > "$1"', 'sh', fifo], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  writer.stdin.end(upload);
  const result = await ended;
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
  expect(payloadOf(work, raw).equals(upload)).toBe(true);
  expectNothingLeft(work);
});

test('the rest of a redirected file that somebody has read from already', async (context) => {
  requireTool(context, 'e2fsck', 'debugfs');
  const work = workspace();
  const upload = uploadBytes(200_000);
  const path = work.input('upload', upload);
  const raw = work.output('x.raw');
  const fd = openSync(path, 'r');
  // dd shares the descriptor and leaves it after 1000 bytes, as a shell script may.
  const skip = spawn('dd', ['bs=1000', 'count=1', 'of=/dev/null', 'status=none'], {
    stdio: [fd, 'ignore', 'ignore'],
  });
  await new Promise((done) => skip.once('close', done));
  const { ended } = startCli(work, ['build', '-', '-o', raw, '--allow-unsigned'], { stdin: fd });
  closeSync(fd);
  const result = await ended;
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
  expect(payloadOf(work, raw).equals(upload.subarray(1000))).toBe(true);
});

test('--digest tells what sha256sum tells', async () => {
  const work = workspace();
  const upload = uploadBytes(1_000_003);
  const path = work.input('upload', upload);
  const { stdout } = await mustBuild(work, [
    path,
    '-o',
    work.output('x.vhd'),
    '--allow-unsigned',
    '--digest',
    '--json',
  ]);
  const sum = createHash('sha256').update(upload).digest('hex');
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    sha256: sum,
    payloadLength: 1_000_003,
    verifiedBy: 'nothing',
  });
});

test('a file that claims to be empty, as those in /proc do', async () => {
  const work = workspace();
  const args = ['build', '/proc/version', '-o', work.output('x.raw'), '--allow-unsigned'];
  const { exitCode, stderr } = await runCli(work, args);
  expect(exitCode).toBe(4);
  expect(stderr).toContain('empty');
  expectNoOutput(work);
});

test.for([
  ['shrinks', 24 * MIB, 'ended too early'],
  ['grows', 64 * MIB, 'longer than announced'],
] as const)('a file that %s while it is read', async ([, newSize, message], context) => {
  requireImageJudges(context);
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 48 * MIB);
  const image = work.output('x.vhd');
  const pipe = makePipe();
  const { ended } = startCli(work, ['build', upload, '--format', 'vhd', '--allow-unsigned'], {
    stdout: pipe.writeFd,
  });
  pipe.closeWrite();
  // The builder cannot be far ahead: nobody takes more than this first byte of the image.
  const firstByte = Buffer.alloc(1);
  await readAsync(pipe.readFd, firstByte, 0, 1, null);
  truncateSync(upload, newSize);
  const fd = openSync(image, 'w');
  writeSync(fd, firstByte);
  const reader = spawn('cat', [], { stdio: [pipe.readFd, fd, 'ignore'] });
  closeSync(fd);
  pipe.closeRead();
  await new Promise((done) => reader.once('close', done));
  const { exitCode, stderr } = await ended;
  expect(exitCode).toBe(4);
  expect(stderr).toContain(message);
  expect(stderr).toContain(`${48 * MIB} bytes`);
  expectNothingLeft(work);
  await expectUselessOutput(image, 'vhd');
});
