import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { sweepHost } from '../../src/host/apply-patch.js';
import { startCli, runCli, type Ended } from '../e2e/cli.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import {
  expectNoRemains,
  hostBench,
  remainsOf,
  requireHost,
  UUID,
  type HostBench,
} from '../host/host-bench.js';

const MOMENTS = Number(process.env['PATCH_VDI_KILLS'] ?? 24);
/** Longer than a whole run takes: some are killed at the end of it, or not at all. */
const LONGEST_MILLISECONDS = 1100;

beforeEach((context) => requireHost(context));

function applyArguments(bench: HostBench): string[] {
  const { image, keyring, scratch, applied } = bench;
  return ['apply', image, '--keyring', keyring, '--scratch-folder', scratch, '--applied-folder', applied];
}

/** What the patch leaves on the host: a line when its apply begins, one when it ends. */
async function talkingBench(): Promise<HostBench & { readonly log: string }> {
  const log = join(workspace().folder, 'log');
  writeFileSync(log, '');
  const apply = `echo began >>'${log}'
setsid sleep 300 &
(trap '' TERM; setsid sh -c 'sleep 300 & sleep 300') &
head -c 2000000 /dev/zero >"$TMPDIR/unpacked"
sleep 0.4
echo ended >>'${log}'`;
  return { ...(await hostBench({ apply })), log };
}

const lines = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);

async function killedAfter(work: Workspace, bench: HostBench, milliseconds: number): Promise<Ended> {
  const { child, ended } = startCli(work, applyArguments(bench));
  await sleep(milliseconds);
  child.kill('SIGKILL');
  return await ended;
}

test(`killed at ${MOMENTS} random moments: no mount, no loop device, no process, and never twice without being told`, async () => {
  const bench = await talkingBench();
  const work = workspace();
  const seen = { killed: 0, began: 0, refused: 0 };
  for (let moment = 0; moment < MOMENTS; moment += 1) {
    const milliseconds = randomInt(LONGEST_MILLISECONDS);
    const when = `moment ${moment}, killed after ${milliseconds} ms`;
    writeFileSync(bench.log, '');
    const { signal } = await killedAfter(work, bench, milliseconds);
    await expectNoRemains(bench.folder);
    // Nothing that it has started says anything any more.
    const said = lines(bench.log);
    if (signal === 'SIGKILL') seen.killed += 1;
    if (said.length > 0) seen.began += 1;
    const { removed, unfinished } = await sweepHost({
      scratchFolder: bench.scratch,
      appliedFolder: bench.applied,
    });
    expect(readdirSync(bench.scratch), when).toEqual([]);
    expect(removed.length, when).toBeLessThanOrEqual(1);
    const isKept = existsSync(join(bench.applied, UUID));
    const isUnfinished = unfinished.length === 1;
    // Whatever was run is known to have been: as applied, or as begun.
    if (said.length > 0) expect({ when, known: isKept || isUnfinished }).toEqual({ when, known: true });
    if (isKept) expect(said, when).toEqual(['began', 'ended']);
    if (isKept || isUnfinished) {
      const again = await runCli(work, applyArguments(bench));
      expect({ when, exitCode: again.exitCode }).toEqual({ when, exitCode: 1 });
      expect(again.stderr).toMatch(isUnfinished ? /may\s+have\s+run\s+in\s+part/ : /applied already/);
      expect(lines(bench.log), when).toEqual(said);
      seen.refused += 1;
      for (const name of readdirSync(bench.applied)) {
        rmSync(join(bench.applied, name));
      }
    }
  }
  // The moments are spread over the whole run, or the test has looked at nothing.
  expect(seen.killed).toBeGreaterThan(MOMENTS / 2);
  expect(seen.began).toBeGreaterThan(0);
  expect(seen.refused).toBeGreaterThan(0);
}, 300_000);

test('killed in the middle of an apply: told at the next start, and applied again when that is wanted', async () => {
  const bench = await talkingBench();
  const work = workspace();
  const { child, ended } = startCli(work, applyArguments(bench));
  await expect.poll(() => lines(bench.log).length, { interval: 20 }).toBe(1);
  child.kill('SIGKILL');
  await ended;
  await expectNoRemains(bench.folder);
  await sleep(600);
  expect(lines(bench.log)).toEqual(['began']);
  const told = await runCli(work, applyArguments(bench));
  expect(told).toMatchObject({ exitCode: 1, stdout: '' });
  expect(told.stderr).toMatch(/an earlier apply did not come to its end, and may have run in part/);
  expect(told.stderr).toMatch(new RegExp(`warning: an apply of patch ${UUID}`));
  const again = await runCli(work, [...applyArguments(bench), '--again', '--quiet']);
  expect(again).toMatchObject({ exitCode: 0, stdout: '' });
  expect(lines(bench.log)).toEqual(['began', 'began', 'ended']);
  expect(readdirSync(bench.applied)).toEqual([UUID]);
  expect(remainsOf(bench.folder)).toEqual([]);
});

test('SIGTERM in the middle of an apply: ended in order, nothing is left, exit code 143', async () => {
  const bench = await talkingBench();
  const work = workspace();
  const { child, ended } = startCli(work, applyArguments(bench));
  await expect.poll(() => lines(bench.log).length, { interval: 20 }).toBe(1);
  child.kill('SIGTERM');
  const { exitCode, stderr } = await ended;
  expect(exitCode).toBe(143);
  expect(stderr).toMatch(/may\s+have\s+run\s+in\s+part/);
  expect(readdirSync(bench.scratch)).toEqual([]);
  expect(remainsOf(bench.folder)).toEqual([]);
});

test('the judge sees a mount, a loop device and a process while they are there', async () => {
  const bench = await talkingBench();
  const { child, ended } = startCli(workspace(), applyArguments(bench));
  await expect.poll(() => lines(bench.log).length, { interval: 20 }).toBe(1);
  const remains = remainsOf(bench.folder).join('\n');
  expect(remains).toMatch(/^loop device loop\d+$/m);
  expect(remains).toMatch(/^mount seen by \d+: /m);
  expect(remains).toMatch(/^process \d+: /m);
  child.kill('SIGKILL');
  await ended;
  await expectNoRemains(bench.folder);
});
