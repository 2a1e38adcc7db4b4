import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { basename, dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { PRECHECKS } from '../../src/kit/documents.js';
import type { PatchRequest } from '../../src/kit/make-patch.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { flip } from '../signature/openpgp-bench.js';
import { HOSTILE_TEXTS } from './hostile-texts.js';
import { patchInMemory } from './make.js';
import { runScript, SHELLS } from './shells.js';
import { parseXml, XML_JUDGE } from './xml.js';

beforeEach((context) => requireTool(context, 'dash', 'bash', XML_JUDGE));

const UUID = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';
const SIZE = 100_000;

/** A patch as a file in a folder of its own; returns its path. */
async function patchFile(request: PatchRequest = {}, change = (bytes: Buffer) => bytes): Promise<string> {
  const path = join(temporaryFolder(), 'patch');
  writeFileSync(path, change(await patchInMemory({ seed: '7', uuid: UUID, ...request }, SIZE)));
  return path;
}

const leftBeside = (path: string): string[] =>
  readdirSync(dirname(path)).filter((name) => name !== basename(path));

describe.each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('under %s', (_name, shell) => {
  test('the script has no mistake that the shell can see, until one is made', async () => {
    const bytes = await patchInMemory({ seed: '7' }, SIZE);
    const end = bytes.indexOf('### the payload follows ###\n');
    const path = join(temporaryFolder(), 'script');
    writeFileSync(path, bytes.subarray(0, end));
    expect(runScript([...shell, '-n'], path, [])).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    writeFileSync(path, bytes.subarray(0, end).toString('latin1').replace('esac', ''));
    expect(runScript([...shell, '-n'], path, []).exitCode).not.toBe(0);
  });

  test.for(HOSTILE_TEXTS)('info about a patch called %j', async (text) => {
    const path = await patchFile({ nameLabel: text, nameDescription: text, version: text });
    for (const LC_ALL of ['C', 'C.UTF-8']) {
      const { exitCode, stdout, stderr } = runScript(shell, path, ['info'], { env: { LC_ALL } });
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      expect(parseXml(stdout).attributes).toMatchObject({ uuid: UUID, 'name-label': text, version: text });
    }
    expect(leftBeside(path)).toEqual([]);
  });

  test.for(PRECHECKS)('precheck %s', async (precheck) => {
    const { exitCode, stdout, stderr } = runScript(shell, await patchFile({ precheck }), ['precheck']);
    expect(stderr).toBe('');
    if (precheck === 'ok') expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
    else {
      expect(exitCode).toBe(1);
      expect(parseXml(stdout).tag).toBe('error');
    }
  });

  test('apply unpacks, checks and removes', async () => {
    const path = await patchFile({ scratchBytes: 300_001 });
    const { exitCode, stdout, stderr } = runScript(shell, path, ['apply']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toMatch(
      /^unpacked \d+ bytes of payload: right\nwrote 300001 bytes of scratch: right\napplied /,
    );
    expect(leftBeside(path)).toEqual([]);
  });

  test('apply fails when told to, and leaves nothing', async () => {
    const path = await patchFile({ apply: { kind: 'fail' } });
    expect(runScript(shell, path, ['apply'])).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/right\napply failed: it was told to fail\n$/) as string,
    });
    expect(leftBeside(path)).toEqual([]);
  });

  test('apply sleeps when told to', async () => {
    const path = await patchFile({ apply: { kind: 'sleep', seconds: 1 } });
    const start = performance.now();
    const { exitCode, stdout } = runScript(shell, path, ['apply']);
    expect(performance.now() - start).toBeGreaterThan(950);
    expect({ exitCode, stdout }).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^sleeping for 1 s\n/),
    });
  });

  test('apply that is stopped in its sleep ends at once and leaves nothing', async () => {
    const path = await patchFile({ apply: { kind: 'sleep', seconds: 50 } });
    const [program = 'sh', ...before] = shell;
    const child = spawn(program, [...before, path, 'apply'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = new Promise((done) => child.once('exit', done));
    await new Promise((done) => child.stdout.once('data', done));
    child.kill('SIGTERM');
    expect(await ended).toBe(143);
    expect(leftBeside(path)).toEqual([]);
  });

  test.for<[string, (bytes: Buffer) => Buffer, RegExp]>([
    [
      'changed in its last byte',
      (bytes) => flip(bytes, SIZE - 1),
      /SHA-256 of the payload is [0-9a-f]{64} instead/,
    ],
    ['cut off', (bytes) => bytes.subarray(0, SIZE - 1), /this file has 99999 bytes instead of 100000/],
    ['longer', (bytes) => Buffer.concat([bytes, Buffer.of(0)]), /this file has 100001 bytes instead/],
  ])('apply fails for a patch that is %s', async ([, change, says]) => {
    const path = await patchFile({}, change);
    const { exitCode, stdout } = runScript(shell, path, ['apply']);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^apply failed: /);
    expect(stdout).toMatch(says);
    expect(leftBeside(path)).toEqual([]);
  });

  test.for(['with space', "it's $HOME", '-dash', 'new\nline', '*'])(
    'apply works in a folder called %j',
    async (name) => {
      const top = temporaryFolder();
      mkdirSync(join(top, name));
      writeFileSync(join(top, name, 'patch'), await patchInMemory({ seed: '7', scratchBytes: 10 }, SIZE));
      for (const [script, cwd] of [
        ['patch', join(top, name)],
        ['./patch', join(top, name)],
        [join(top, name, 'patch'), '/'],
        [`./${name}/patch`, top],
      ] as const) {
        expect(runScript(shell, script, ['apply'], { cwd })).toMatchObject({ exitCode: 0, stderr: '' });
      }
      expect(readdirSync(join(top, name))).toEqual(['patch']);
    },
  );

  test.for([[[]], [['restore']], [['']], [['info', 'x']], [['apply', '']]])(
    '%j is no way to call it',
    async ([args = []]) => {
      const path = await patchFile();
      expect(runScript(shell, path, args)).toEqual({
        exitCode: 64,
        stdout: '',
        stderr: expect.stringMatching(/^usage: .* info \| precheck \| apply\n$/) as string,
      });
    },
  );
});

test('runs as a program, as a host starts it', async () => {
  const path = await patchFile();
  chmodSync(path, 0o755);
  expect(runScript([path], 'info', []).stdout).toContain(UUID);
});

test('says so when nothing can make a SHA-256', async () => {
  const path = await patchFile();
  const tools = temporaryFolder();
  const program = '#!/bin/sh\n';
  for (const name of ['wc', 'tr', 'mkdir', 'tail', 'rm']) {
    writeFileSync(join(tools, name), `${program}exec /usr/bin/${name} "$@"\n`, { mode: 0o755 });
  }
  const { exitCode, stdout } = runScript(['/bin/sh'], path, ['apply'], { env: { PATH: tools } });
  expect({ exitCode, stdout }).toEqual({
    exitCode: 1,
    stdout: 'apply failed: there is no sha256sum, shasum or openssl to check the payload with\n',
  });
  expect(leftBeside(path)).toEqual([]);
});
