import { expect, test } from 'vitest';
import { expectCleanText, expectNothingLeft, runCli } from '../e2e/cli.js';
import { startFed } from '../e2e/feeding.js';
import { expectNoOutput } from '../e2e/judges/nothing-usable.js';
import { workspace } from '../e2e/workspace.js';

/** Code that node loads before the program: it breaks something in the middle of a build. */
const sabotage = (code: string): Record<string, string> => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}`,
});

test.for([
  ['an exception', "setTimeout(() => { throw new Error('out of the blue'); }, 500)"],
  ['a rejection', "setTimeout(() => void Promise.reject(new Error('out of the blue')), 500)"],
] as const)('%s that nobody catches: exit code 70, no stack trace, nothing left', async ([, code]) => {
  const work = workspace();
  const args = ['build', '-', '-o', work.output('x.vhd'), '--allow-unsigned', '--content-length', '1000000'];
  const { ended } = startFed(work, args, { env: sabotage(code) });
  const { exitCode, stderr } = await ended;
  expect(exitCode, stderr).toBe(70);
  expect(stderr).toContain('out of the blue');
  expect(stderr).toContain('a defect of patch-vdi');
  expectCleanText(stderr);
  expectNothingLeft(work);
  expectNoOutput(work);
});

test('too few descriptors', async () => {
  const work = workspace();
  const upload = work.input('upload', 'x');
  const args = ['build', upload, '-o', work.output('x.raw'), '--allow-unsigned'];
  // Where Node starts at all, every file that is opened, and every pipe to a program, may be one too many.
  for (const limit of [24, 25, 26, 28, 30, 32]) {
    const wrapper = ['sh', '-c', `ulimit -n ${limit}; exec "$@"`, 'sh'];
    if ((await runCli(work, ['--version'], { wrapper })).exitCode !== 0) continue;
    const { exitCode } = await runCli(work, [...args, '--force'], { wrapper });
    expect(exitCode).not.toBe(1);
  }
});
