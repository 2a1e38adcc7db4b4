import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startCli } from './cli.js';
import { feed, pieces, startFed } from './feeding.js';
import { expectNoOutput } from './judges/nothing-usable.js';
import { makePipe } from './pipes.js';
import { MIB, uploadBytes, writeUpload } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace } from './workspace.js';

const UPLOAD = uploadBytes(2 * MIB);

test.for(FORMATS)('a pipe that falls silent, into a %s', async (format) => {
  const work = workspace();
  const args = ['build', '-', '-o', work.output(`x.${format}`), '--allow-unsigned', '--idle-timeout', '2'];
  const fed = startFed(work, [...args, '--content-length', String(UPLOAD.length)]);
  await fed.send(UPLOAD.subarray(0, MIB));
  const { exitCode, stderr } = await fed.ended;
  expect(exitCode).toBe(4);
  expect(stderr).toContain('the upload does not go on');
  expect(stderr).toContain('nothing for 2 seconds');
  expect(stderr).toContain('offset 1048576');
  expectNoOutput(work);
});

test('a pipe that is slow but not silent', async () => {
  const work = workspace();
  const args = ['build', '-', '-o', work.output('x.vhd'), '--allow-unsigned', '--idle-timeout', '3'];
  const fed = startFed(work, [...args, '--content-length', '20']);
  for (const part of pieces(UPLOAD.subarray(0, 20), [1])) {
    await sleep(200);
    await fed.send(part);
  }
  expect((await feed(fed, [])).exitCode).toBe(0);
});

test('a reader that stalls', async () => {
  const work = workspace();
  const upload = writeUpload(`${work.folder}/upload`, 8 * MIB);
  const pipe = makePipe();
  const args = ['build', upload, '--format', 'vhd', '--allow-unsigned', '--idle-timeout', '2'];
  const { ended } = startCli(work, args, { stdout: pipe.writeFd });
  pipe.closeWrite();
  const { exitCode, stderr } = await ended;
  pipe.closeRead();
  expect(exitCode).toBe(8);
  expect(stderr).toContain('the output does not take any more');
  expectNoOutput(work);
});

test('a reader that stalls, between pipes: it is not the source', async () => {
  const work = workspace();
  const pipe = makePipe();
  const args = ['build', '-', '--format', 'vhd', '--allow-unsigned', '--idle-timeout', '2'];
  const fed = startFed(work, [...args, '--content-length', String(UPLOAD.length)], { stdout: pipe.writeFd });
  pipe.closeWrite();
  const sending = fed.send(UPLOAD);
  const { exitCode, stderr } = await fed.ended;
  pipe.closeRead();
  await sending;
  expect(exitCode).toBe(8);
  expect(stderr).toContain('the output does not take any more');
});

test('0 is for ever, and so is nothing', async () => {
  for (const option of [['--idle-timeout', '0'], []]) {
    const work = workspace();
    const args = ['build', '-', '-o', work.output('x.vhd'), '--allow-unsigned', ...option];
    const fed = startFed(work, [...args, '--content-length', '20']);
    await fed.send(UPLOAD.subarray(0, 10));
    await sleep(700);
    await fed.send(UPLOAD.subarray(10, 20));
    expect((await feed(fed, [])).exitCode).toBe(0);
  }
});
