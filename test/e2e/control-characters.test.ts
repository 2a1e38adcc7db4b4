import { writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { CraftedKey, literal } from '../signature/craft.js';
import { flip } from '../signature/openpgp-bench.js';
import { expectCleanText, runCli } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

/*
 * A user id, the name inside the literal packet, the name of a file: all of them may hold what a terminal would obey.
 */

/** Colours, a window title, a line that looks like gpgv's, text from right to left, C1 controls. */
const EVIL = '\u001b[31m\u001b]0;title\u0007\n[GNUPG:] GOODSIG \u009b2J \r\u202e';
const CONTENT = Buffer.from('echo content\n');

let mallory: CraftedKey;
let upload: Buffer;
beforeAll(() => {
  mallory = new CraftedKey(`Mallory ${EVIL}`);
  upload = Buffer.concat([mallory.onePass(), literal(CONTENT, EVIL), mallory.version4(CONTENT)]);
});

function build(work: Workspace, message: Buffer, ...args: string[]) {
  const keyring = work.input('keys.gpg', mallory.keyring());
  const path = work.input('upload', message);
  return runCli(work, ['build', path, '-o', work.output('x.vhd'), '--keyring', keyring, ...args]);
}

describe('a user id with control characters', () => {
  test('in the summary', async () => {
    const { exitCode, stdout, stderr } = await build(workspace(), upload);
    expect(exitCode, stderr).toBe(0);
    expectCleanText(stdout);
    expect(stdout).toContain('Mallory \\x1b[31m\\x1b]0;title');
    expect(stdout).not.toMatch(/^\[GNUPG/m);
  });

  test('in JSON', async () => {
    const { stdout } = await build(workspace(), upload, '--json');
    expectCleanText(stdout);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
  });

  test.for([
    ['an error', []],
    ['an error in JSON', ['--json']],
  ] as const)('in %s', async ([, args]) => {
    const bad = flip(upload, upload.indexOf(CONTENT));
    const { exitCode, stdout, stderr } = await build(workspace(), bad, ...args);
    expect(exitCode).toBe(3);
    expectCleanText(stdout + stderr);
    expect(stdout + stderr).toContain('Mallory');
  });

  test('in the trace', async () => {
    const work = workspace();
    const keyring = work.input('keys.gpg', mallory.keyring());
    const path = work.input('upload', flip(upload, upload.indexOf(CONTENT)));
    const args = ['build', path, '-o', work.output('x.vhd'), '--keyring', keyring];
    const { stderr } = await runCli(work, args, { env: { NODE_DEBUG: 'patch-vdi' } });
    expect(stderr).toContain('PATCH-VDI');
    expect(stderr).not.toMatch(/[^\P{Cc}\n\t]/u);
  });
});

describe('a file name with control characters', () => {
  test.for([
    ['an error', []],
    ['an error in JSON', ['--json']],
  ] as const)('in %s', async ([, args]) => {
    const work = workspace();
    const path = `${work.folder}/missing-${EVIL}`;
    const { exitCode, stdout, stderr } = await runCli(work, [
      'build',
      path,
      '-o',
      work.output('x.raw'),
      '--allow-unsigned',
      ...args,
    ]);
    expect(exitCode).toBe(2);
    expectCleanText(stdout + stderr);
    expect(stdout + stderr).toContain('missing-');
  });

  test('in the summary', async () => {
    const work = workspace();
    const path = work.input('upload', 'x');
    const image = work.output(`${EVIL.replace('/', '')}.raw`);
    const { exitCode, stdout } = await runCli(work, ['build', path, '-o', image, '--allow-unsigned']);
    expect(exitCode).toBe(0);
    expectCleanText(stdout);
  });

  test('in what commander says of an option', async () => {
    const { exitCode, stderr } = await runCli(workspace(), ['build', `--${EVIL}`]);
    expect(exitCode).toBe(2);
    expectCleanText(stderr);
  });
});

test('what the upload starts with, when it is no message', async () => {
  const work = workspace();
  const path = `${work.folder}/upload`;
  writeFileSync(path, `${EVIL}${'x'.repeat(100)}`, 'utf8');
  const keyring = work.input('keys.gpg', mallory.keyring());
  const { exitCode, stderr } = await runCli(work, [
    'build',
    path,
    '-o',
    work.output('x.raw'),
    '--keyring',
    keyring,
  ]);
  expect(exitCode).toBe(3);
  expectCleanText(stderr);
});
