/*
 * Standard output that is closed. Node opens /dev/null in its place before anything of ours runs, so that bytes which go
 * there would be lost without a word.
 */
import { statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runJudge } from '../oracles/run-judge.js';
import { CLI } from './cli.js';
import { MIB, writeUpload } from './uploads.js';
import { makeWorkspace } from './workspace.js';

const work = makeWorkspace();
afterAll(() => work.remove());

function sh(command: string) {
  const program = `cd ${work.folder}; patch_vdi() { ${process.execPath} ${CLI} "$@"; }; ${command}`;
  return runJudge('bash', ['--norc', '-c', program]);
}

const BUILD = 'patch_vdi build upload --format raw --allow-unsigned';

beforeAll(() => {
  writeUpload(`${work.folder}/upload`, MIB);
  const made = sh(`${BUILD} -o vdi.raw && patch_vdi build upload --allow-unsigned -o vdi.vhd`);
  expect(made.exitCode, made.stderr).toBe(0);
});

test.for(['patch_vdi extract vdi.raw', 'patch_vdi extract vdi.vhd -o -', BUILD, `${BUILD} --quiet -o -`])(
  '%s >&- is an error of the output',
  (command) => {
    const { exitCode, stderr } = sh(`${command} >&-`);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 8,
      stderr: expect.stringContaining('standard output is closed'),
    });
    expect(stderr).toContain('-o FILE');
    const json = sh(`${command} --json >&-`);
    expect(JSON.parse(json.stderr)).toMatchObject({ ok: false, error: { kind: 'sink', exitCode: 8 } });
  },
);

test.for([
  ['thrown away on purpose', 'patch_vdi extract vdi.raw > /dev/null'],
  ['an image thrown away on purpose', `${BUILD} > /dev/null`],
  ['read from a pipe', 'patch_vdi extract vdi.raw | cmp - upload'],
  ['to a file, with standard output closed', 'patch_vdi extract vdi.raw -o copy >&- && cmp copy upload'],
] as const)('%s: no error', ([, command]) => {
  const { exitCode, stderr } = sh(`set -o pipefail; ${command}`);
  expect(exitCode, stderr).toBe(0);
});

test('the judge is right about the shell: a closed descriptor is closed', () => {
  expect(sh('cat vdi.raw >&-').exitCode).not.toBe(0);
  expect(statSync(`${work.folder}/vdi.raw`).size).toBeGreaterThan(MIB);
});

describe('a reader that is slow', () => {
  // More than a pipe holds, so that most of it waits when the work is done.
  const LONG = 'patch_vdi inspect vdi.vhd --map --json';

  test.for([
    ['good', 'vdi.vhd', 0],
    ['damaged', 'damaged.vhd', 6],
  ] as const)('gets all of it, of a %s image', ([, image, code]) => {
    sh('cp vdi.vhd damaged.vhd; printf x | dd of=damaged.vhd bs=1 seek=600 conv=notrunc');
    const command = LONG.replace('vdi.vhd', image);
    const { exitCode, stdout } = sh(`set -o pipefail; ${command} | (sleep 1; cat)`);
    expect(exitCode).toBe(code);
    expect(stdout.length).toBeGreaterThan(128 * 1024);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, healthy: code === 0 });
  });

  test('and has seen enough: that is no error', () => {
    const { exitCode, stdout, stderr } = sh(`set -o pipefail; ${LONG} | (sleep 1; head -c 1)`);
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '{', stderr: '' });
  });

  test('and never reads: a signal ends the wait', () => {
    const { stdout } = sh(
      `mkfifo p; sleep 100 <p & (exec 3>p; exec ${process.execPath} ${CLI} inspect vdi.vhd --map --json >&3 3>&-) & pid=$!; ` +
        'sleep 3; kill -0 $pid && echo it waits; kill -TERM $pid; wait $pid; echo $?; kill %1',
    );
    expect(stdout).toBe('it waits\n143\n');
  });
});
