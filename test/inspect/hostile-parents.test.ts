/* The path of a parent is text from the image: it must lead to no server, and to nothing that is waited for. */
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { runCli } from '../e2e/cli.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { makeDynamic } from '../vhd/hand-made.js';

const DIFFERENCING = 4;
const MIB = 1024 * 1024;
const LOCATOR_OFFSET = 1536;

/** A child in the folder of the command line, with a locator that says so. */
function writeChild(work: Workspace, parentPath: string): string {
  const data = Buffer.from(parentPath, 'utf16le');
  const entry = Buffer.alloc(192);
  entry.write('W2ru', 0, 'latin1');
  entry.writeUInt32BE(1, 4);
  entry.writeUInt32BE(data.length, 8);
  entry.writeBigUInt64BE(BigInt(LOCATOR_OFFSET), 16);
  work.input(
    'child.vhd',
    makeDynamic({
      sizeBytes: 4 * MIB,
      diskType: DIFFERENCING,
      behindHeader: data,
      header: { 'Parent Locator Entries': entry, 'Parent Unique ID': Buffer.alloc(16) },
    }),
  );
  return 'child.vhd';
}

test('a URL is not fetched', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(404).end();
  });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const work = workspace();
  const child = writeChild(work, `http://127.0.0.1:${port}/parent.vhd`);
  const ended = await runCli(work, ['inspect', child]);
  expect(ended, ended.stderr).toMatchObject({ exitCode: 6 });
  expect(ended.stdout).toContain('vhd-parent-missing');
  expect(asked).toEqual([]);
});

test('a pipe is not waited for', async () => {
  const work = workspace();
  execFileSync('mkfifo', [`${work.folder}/pipe`]);
  const ended = await runCli(work, ['inspect', writeChild(work, 'pipe')]);
  expect(ended, ended.stderr).toMatchObject({ exitCode: 6 });
  expect(ended.stdout).toContain('vhd-parent-missing');
});

test('a file is opened, also one of an odd name', async () => {
  const work = workspace();
  work.input('http:', Buffer.alloc(4 * MIB));
  const ended = await runCli(work, ['inspect', writeChild(work, 'http:')]);
  expect(ended.stdout).not.toContain('vhd-parent-missing');
});
