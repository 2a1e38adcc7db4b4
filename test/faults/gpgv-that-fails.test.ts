import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCleanText, runCli } from '../e2e/cli.js';
import { feed, pieces, startFed } from '../e2e/feeding.js';
import { expectNoOutput, expectUselessOutput } from '../e2e/judges/nothing-usable.js';
import { requireImageJudges } from '../e2e/judges/patch-disk.js';
import { makeSigningBench, type SigningBench } from '../e2e/signed-uploads.js';
import { MIB } from '../e2e/uploads.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { fakeTools, MISSING } from './fake-tools.js';

let bench: SigningBench;
beforeAll(() => {
  bench = makeSigningBench();
});
afterAll(() => bench.close());

/** The gpgv that works in this workspace's TMPDIR. */
function gpgvOf(work: Workspace): number | undefined {
  return readdirSync('/proc')
    .map(Number)
    .find((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return (words[0] ?? '').endsWith('gpgv') && words.some((word) => word.startsWith(`${work.tmp}/`));
      } catch {
        return false;
      }
    });
}

test.for(['at once', 'in the middle', 'when it has read everything'] as const)(
  'gpgv is killed %s',
  async (when) => {
    const work = workspace();
    const args = ['-o', work.output('x.vhd'), '--keyring', bench.keyring];
    const fed = startFed(work, ['build', '-', ...args, '--content-length', String(bench.plain.length)]);
    const before = {
      'at once': 1,
      'in the middle': 2 * MIB,
      'when it has read everything': bench.plain.length,
    }[when];
    await fed.send(bench.plain.subarray(0, before));
    await expect.poll(() => gpgvOf(work)).toBeDefined();
    process.kill(gpgvOf(work) ?? 0, 'SIGKILL');
    const { exitCode, stderr } = await feed(fed, pieces(bench.plain.subarray(before), [MIB]));
    expect(exitCode, stderr).toBe(7);
    expect(stderr).toContain('gpgv');
    expect(stderr).toContain('SIGKILL');
    expectCleanText(stderr);
    expectNoOutput(work);
  },
);

const STATUS = `echo '[GNUPG:] NEWSIG'; echo '[GNUPG:] GOODSIG 0123456789ABCDEF Alice'`;

test.for([
  ['is missing', MISSING, 7, 'gpgv was not found'],
  ['crashes at once', 'kill -11 $$', 7, 'SIGSEGV'],
  ['cannot start', 'exec /nonexistent/program', 7, 'gpgv'],
  ['reads all and says nothing', 'cat > /dev/null', 3, 'not every signature is valid'],
  ['reads nothing and says nothing', 'exit 0', 3, 'not every signature is valid'],
  ['says GOODSIG without VALIDSIG', `cat > /dev/null; ${STATUS}`, 3, 'VALIDSIG'],
  ['says something unheard of', `cat > /dev/null; ${STATUS}; echo '[GNUPG:] PLEASE_DONT'`, 3, 'PLEASE_DONT'],
  ['says GOODSIG and exits 2', `cat > /dev/null; ${STATUS}; exit 2`, 3, 'exit code 2'],
  ['fails without a word', 'cat > /dev/null; exit 2', 7, 'gpgv'],
  ['prints without end', 'exec yes', 7, 'printed without end'],
] as const)('gpgv %s', async ([, script, code, says], context) => {
  requireImageJudges(context);
  const work = workspace();
  const env = fakeTools(work, { gpgv: script });
  const upload = work.input('upload', bench.plain);
  const verify = ['--keyring', bench.keyring];
  const toFile = await runCli(work, ['build', upload, '-o', work.output('x.vhd'), ...verify], { env });
  expect(toFile.exitCode, toFile.stderr).toBe(code);
  expect(toFile.stderr.replaceAll(/\n\s*/g, ' ')).toContain(says);
  expectNoOutput(work);
  const image = work.output('stdout.vhd');
  const streamed = await runCli(work, ['build', upload, '--format', 'vhd', ...verify], {
    env,
    stdout: { path: image, through: 'redirection' },
  });
  expect(streamed.exitCode, streamed.stderr).toBe(code);
  await expectUselessOutput(image, 'vhd');
});

test('an upload that needs no gpgv is built without it', async () => {
  const work = workspace();
  const env = fakeTools(work, { gpgv: MISSING });
  const upload = work.input('upload', bench.plain);
  const args = ['build', upload, '-o', work.output('x.vhd'), '--allow-unsigned'];
  expect(await runCli(work, args, { env })).toMatchObject({ exitCode: 0 });
});

test('gpgv is not looked for along PATH', async () => {
  const work = workspace();
  const { PATCH_VDI_TOOLS_PATH } = fakeTools(work, {
    gpgv: `cat > /dev/null; echo '[GNUPG:] BADSIG 1 evil'; exit 1`,
  });
  const upload = work.input('upload', bench.plain);
  const args = ['build', upload, '-o', work.output('x.vhd'), '--keyring', bench.keyring];
  const env = { PATH: `${PATCH_VDI_TOOLS_PATH}:${process.env['PATH']}`, GNUPGHOME: '/nonexistent' };
  expect(await runCli(work, args, { env })).toMatchObject({ exitCode: 0 });
});
