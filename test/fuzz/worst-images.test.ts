import { readFileSync, rmSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { expectCleanText, startCli, type Ended } from '../e2e/cli.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { requireTool } from '../oracles/require-tool.js';
import { WORST_IMAGES } from './worst-images.js';

/*
 * The worst that we can think of, sparse and as large as a file may be, through the command line: an answer, in little
 * memory, and soon.
 */

/** Node itself takes about 57 MiB; a BAT of 32 MiB and its sorted copy are the largest that there is. */
const MAX_PEAK_BYTES = 200 * MIB;
const KILL_MILLISECONDS = 60_000;
const DAMAGE_EXIT = 6;

beforeEach((context) => requireTool(context, 'time'));

interface Measured extends Ended {
  readonly peakBytes: number;
  readonly seconds: number;
}

/** Runs the command line under time(1); a minute is too much. */
async function measured(work: Workspace, args: readonly string[]): Promise<Measured> {
  const report = `${work.folder}/peak`;
  rmSync(report, { force: true });
  const { child, ended } = startCli(work, args, { wrapper: ['time', '-f', '%M %e', '-o', report] });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGTERM');
    // time(1) passes no signal on; what it runs has it as its parent.
    for (const line of readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
      .trim()
      .split(' ')) {
      if (line !== '') process.kill(Number(line), 'SIGKILL');
    }
  }, KILL_MILLISECONDS);
  const end = await ended;
  clearTimeout(timer);
  expect(isLate, `${args.join(' ')} takes more than a minute`).toBe(false);
  const words = readFileSync(report, 'utf8').trim().split('\n').at(-1) ?? '';
  const [kibibytes = 0, seconds = 0] = words.split(' ').map(Number);
  return { ...end, peakBytes: kibibytes * 1024, seconds };
}

function expectAnswer(command: string, { exitCode, signal, stderr, peakBytes, seconds }: Measured): void {
  const words = `${command}: exit ${exitCode}, signal ${signal}, ${seconds} s, ${Math.round(peakBytes / MIB)} MiB`;
  if (process.env['PATCH_VDI_FUZZ_VERBOSE'] !== undefined) console.log(words);
  expect([0, DAMAGE_EXIT], `${words}\n${stderr}`).toContain(exitCode);
  expectCleanText(stderr);
  expect(peakBytes, words).toBeLessThan(MAX_PEAK_BYTES);
}

describe.for(WORST_IMAGES.map((image) => [image.what, image] as const))('%s', ([, image]) => {
  const { write, listed, tooLargeToCopy } = image;
  test('gets an answer', { timeout: 400_000 }, async () => {
    const work = workspace();
    const path = `${work.folder}/0.vhd`;
    write(path);
    const extract = ['extract', path, '-o', work.output('patch')];
    const commands = [
      ['inspect', path, '--map'],
      ...(tooLargeToCopy === true ? [] : [['verify', path, '--structure-only'], extract]),
      ...(listed === true
        ? [
            ['inspect', path, '--list', '--json'],
            ['diff', path, path],
          ]
        : []),
    ];
    for (const args of commands)
      expectAnswer(args.filter((arg) => arg !== path).join(' '), await measured(work, args));
  });
});

test('what takes too much is seen', async () => {
  const work = workspace();
  const image = `${work.folder}/0.vhd`;
  WORST_IMAGES.at(-1)?.write(image);
  const hungry = `--import=data:text/javascript,globalThis.used=Buffer.alloc(${MAX_PEAK_BYTES},1)`;
  const report = `${work.folder}/peak`;
  const { ended } = startCli(work, ['inspect', image], {
    wrapper: ['time', '-f', '%M %e', '-o', report],
    env: { NODE_OPTIONS: hungry },
  });
  const end = await ended;
  const [kibibytes = 0] = (readFileSync(report, 'utf8').trim().split('\n').at(-1) ?? '')
    .split(' ')
    .map(Number);
  const seen = { ...end, peakBytes: kibibytes * 1024, seconds: 0 };
  expect(() => expectAnswer('inspect', seen)).toThrow(/MiB/);
});
