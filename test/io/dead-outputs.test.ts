import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { removeDeadOutputs, temporaryName } from '../../src/io/dead-outputs.js';
import { FileSink } from '../../src/io/file-sink.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'pv-dead-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The id of a process that has ended. */
const deadPid = (): number => spawnSync('true').pid;

/** A temporary output as a process of this host would call it. */
const nameOf = (pid: number): string =>
  basename(temporaryName(join(folder, 'a.vhd'))).replace(`-${process.pid}-`, `-${pid}-`);

test('what a dead build of this host left is removed, and nothing else', () => {
  const dead = nameOf(deadPid());
  const alive = nameOf(process.pid);
  const ofOtherHost = dead.replace(/patch-vdi-[0-9a-f]{8}/, 'patch-vdi-00000000');
  const others = [alive, ofOtherHost, 'a.vhd', '.a.vhd.tmp', `${dead}.keep`, dead.slice(1)];
  for (const name of [dead, ...others]) writeFileSync(join(folder, name), 'x');

  removeDeadOutputs(folder);

  expect(readdirSync(folder).toSorted()).toEqual(others.toSorted());
});

test('the next build into the folder does it', async () => {
  writeFileSync(join(folder, nameOf(deadPid())), 'x');
  const sink = new FileSink(join(folder, 'b.vhd'), false);
  expect(readdirSync(folder).filter((name) => name.includes('a.vhd'))).toEqual([]);
  await sink.discard();
  expect(readdirSync(folder)).toEqual([]);
});

test('a folder that is not there is no trouble: creating the output will say so', () => {
  expect(() => removeDeadOutputs(join(folder, 'missing'))).not.toThrow();
});
