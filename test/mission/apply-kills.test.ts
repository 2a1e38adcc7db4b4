/*
 * kill -9 of the server at 20 moments of copy, precheck and apply: after a restart there is no mount, no loop device, no
 * process, no copy and no half record; and wherever the patch may have run, that is told, and it does not run again.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { requireHost } from '../host/host-bench.js';
import { scriptPatch } from '../pool/apply-bench.js';
import { expectUnmounted } from './remains.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => requireHost(context));

const KILLS = 20;

type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Where the kill strikes. */
type Moment =
  | { readonly kind: 'after'; readonly share: number }
  /** When the patch has written that word. */
  | { readonly kind: 'at'; readonly word: 'precheck' | 'began' | 'ended' };

function momentOf(kill: number): Moment {
  const step = Math.floor(kill / 4);
  if (kill % 4 === 0) return { kind: 'at', word: 'began' };
  if (kill % 4 === 1) return { kind: 'at', word: step % 2 === 0 ? 'precheck' : 'ended' };
  // Copy and check come first; then anywhere up to a bit beyond the end.
  return { kind: 'after', share: kill % 4 === 2 ? 0.05 + step * 0.06 : 0.3 + step * 0.2 };
}

test(`${KILLS} kills`, async () => {
  const served = await ServedPool.start({
    repositories: [
      '- {name_label: patches, path: sr-patches, capabilities: [], default: true, shared: true}',
      '- {name_label: local, path: sr-local, capabilities: []}',
    ],
  });
  const runs = join(served.work.folder, 'runs');
  const words = (): string[] => readFileSync(runs, 'utf8').split('\n').slice(0, -1);
  const parts = {
    precheck: `echo precheck >>${runs}; sleep 0.1`,
    apply: `echo began >>${runs}; sleep 0.3; echo ended >>${runs}`,
    paddingBytes: 8 * MIB,
  };
  const digits = (kill: number): string => String(kill).padStart(12, '0');
  const upload = async (kill: number): Promise<string> => {
    const patch = await scriptPatch({ ...parts, uuid: `5a9f0c0e-55f5-4c9f-a5c4-${digits(kill)}` });
    const { status, body } = await served.send('PUT', '/pool_patch_upload', patch.bytes);
    expect(status).toBe(200);
    return body.toString().trim();
  };
  await served.logIn();
  const [host] = (await served.call('host.get_all')) as [string];
  const apply = (ref: string): Promise<unknown> => served.call('pool_patch.apply', ref, host);
  writeFileSync(runs, '');
  const startedAt = performance.now();
  await apply(await upload(KILLS));
  const wholeMilliseconds = performance.now() - startedAt;
  const outcomes = { untouched: 0, told: 0, applied: 0, unfinishedCopies: 0 };
  for (let kill = 0; kill < KILLS; kill += 1) {
    await served.logIn();
    const ref = await upload(kill);
    writeFileSync(runs, '');
    let acknowledged = false;
    const applying = apply(ref).then(
      () => (acknowledged = true),
      () => undefined,
    );
    const moment = momentOf(kill);
    if (moment.kind === 'after') await sleep(moment.share * wholeMilliseconds);
    else await expect.poll(words, { interval: 2 }).toContain(moment.word);
    await served.kill();
    await applying;
    const logBefore = served.log.length;
    await served.start();
    await served.logIn();
    await expectUnmounted(served);
    const done = words();
    // No copy, no temporary file; disks and records are the same.
    const vdis = Object.values((await served.call('VDI.get_all_records')) as Records);
    const disks = ['sr-patches', 'sr-local'].flatMap((sr) => readdirSync(join(served.work.folder, sr)));
    expect(disks.filter((name) => name !== '.patch-vdi-sr.json').sort()).toEqual(
      vdis.map(({ uuid }) => `${String(uuid)}.raw`).sort(),
    );
    expect(vdis).toHaveLength(kill + 2);
    expect(readdirSync(join(served.state, 'tmp'))).toEqual([]);
    const patch = (await served.call('pool_patch.get_record', ref)) as Records[string];
    const all = (await served.call('host_patch.get_all_records')) as Records;
    const state = Object.values(all).find(({ pool_patch }) => pool_patch === ref);
    const where = `kill ${kill}: ${done.join(' ')}; ${JSON.stringify(state)}`;
    expect(patch['pool_applied'], where).toBe(state?.['applied'] ?? false);
    if (acknowledged) expect(state?.['applied'], where).toBe(true);
    if (state?.['applied'] === true) {
      outcomes.applied += 1;
      expect(done, where).toEqual(['precheck', 'began', 'ended']);
      await expect(apply(ref)).rejects.toThrow('PATCH_ALREADY_APPLIED');
    } else if (state === undefined) {
      outcomes.untouched += 1;
      // Nobody is told, so it has not run.
      expect(done, where).not.toContain('began');
    } else {
      outcomes.told += 1;
      expect(state['other_config'], where).toHaveProperty('unfinished-since');
      await expect(apply(ref)).rejects.toThrow('may have run in part');
    }
    // Nothing of it runs on, or again.
    expect(words(), where).toEqual(done);
    const recovered = served.log.slice(logBefore).find(({ msg }) => msg === 'recovered');
    if (recovered?.['unfinishedVdis'] !== undefined) outcomes.unfinishedCopies += 1;
    if (state?.['applied'] === false) expect(recovered).toHaveProperty('unfinishedApplies');
  }
  // It did hit the copy, the patch itself, and what is before and behind.
  expect(outcomes.told).toBeGreaterThanOrEqual(5);
  expect(outcomes.untouched).toBeGreaterThanOrEqual(3);
  expect(outcomes.unfinishedCopies).toBeGreaterThanOrEqual(10);
  // A patch that was told to run once more does.
  const all = (await served.call('host_patch.get_all_records')) as Records;
  const half = Object.values(all).find(({ applied }) => applied === false);
  const uuid = String(await served.call('host.get_uuid', host));
  await served.call('pool_patch.add_to_other_config', half?.['pool_patch'], `apply-again-${uuid}`, 'yes');
  await apply(String(half?.['pool_patch']));
  expect(await served.call('pool_patch.get_pool_applied', half?.['pool_patch'])).toBe(true);
}, 300_000);
