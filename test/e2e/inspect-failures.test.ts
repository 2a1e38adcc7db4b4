/* Commands that look into images must not call success what was not. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { ask, change } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { runCli } from './cli.js';
import { MIB } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs'));

function disk(work: Workspace, ...commands: readonly string[]): string {
  const path = formatSample(join(work.folder, 'disk.raw'), 16 * MIB);
  change(path, 'write /dev/null patch', ...commands);
  return path;
}

/** With the block of the root folder overwritten. */
function withoutRoot(work: Workspace): string {
  const path = disk(work);
  const bytes = readFileSync(path);
  const block = Number(ask(path, 'bmap / 0'));
  bytes.fill(0xff, block * 4096, (block + 1) * 4096);
  writeFileSync(path, bytes);
  return path;
}

test('a list that is not whole ends with 6, and says why beside it', async () => {
  const work = workspace();
  const path = withoutRoot(work);
  const listed = await runCli(work, ['inspect', path, '--list']);
  expect(listed).toMatchObject({ exitCode: 6, stdout: '' });
  expect(listed.stderr).toContain('directory-checksum');
  const asJson = await runCli(work, ['inspect', path, '--list', '--json']);
  expect(asJson.exitCode).toBe(6);
  expect(JSON.parse(asJson.stdout)).toMatchObject({ healthy: false, files: [] });
});

test('a good disk without the file that was asked for is not called damaged, nor is it called good', async () => {
  const work = workspace();
  const path = disk(work);
  for (const args of [['inspect'], ['verify', '--structure-only']]) {
    const ended = await runCli(work, [...args, path, '--path', '/nope']);
    expect(ended.exitCode).toBe(6);
    expect(ended.stdout).toMatch(/ {2}(?:health|structure) +NO FILE \/nope, and no damage found\n/);
    expect(ended.stdout).toContain('error: /nope (patch-missing)');
  }
  // With damage beside it, it is damage.
  change(path, 'ssv free_blocks_count 1', 'rm patch');
  expect((await runCli(work, ['inspect', path])).stdout).toMatch(/DAMAGED: \d+ errors/);
});

test('two disks that are damaged in the same way are not called the same', async () => {
  const work = workspace();
  const path = withoutRoot(work);
  const ended = await runCli(work, ['diff', path, path]);
  expect(ended.exitCode).toBe(6);
  expect(ended.stdout).toContain('NOT ALL COULD BE COMPARED');
  expect((await runCli(work, ['diff', path, path, '--json'])).stdout).toContain('"same": false');
});

test.for([
  ['diff', '-', '-'],
  ['inspect', 'disk.raw', '--list', '--map'],
  ['inspect', 'disk.raw', '--list', '--svg', 'map.svg'],
])('%s %s %s is a usage error', async (args) => {
  const work = workspace();
  expect((await runCli(work, args)).exitCode).toBe(2);
});
