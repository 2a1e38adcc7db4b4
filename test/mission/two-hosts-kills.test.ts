/*
 * kill -9 of the slave or of the master at moments of copies and destructions that concern both: when both are there
 * again, no record dangles, no disk is without a record, nothing unfinished is left, and what was acknowledged is there.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { samplePatch, sha256 } from '../pool/test-pool.js';
import type { ServedPool } from './served-pool.js';
import {
  MASTER_SR,
  SLAVE_SR,
  eventually,
  joinArguments,
  recordsOf,
  refOf,
  startTwoHosts,
  waitForPbd,
  type TwoHosts,
} from './two-hosts.js';

const KILLS = 24;
/** The latest moment, in times of what a copy takes here and now: by then most things are over. */
const LATEST = 1.5;

function filesIn({ work }: ServedPool, sr: string): string[] {
  const names = readdirSync(join(work.folder, sr));
  return names.filter((name) => name !== '.patch-vdi-sr.json').sort();
}

/** What there is, and what there should be. */
async function order({ master, slave }: TwoHosts): Promise<{ found: string[]; expected: string[] }> {
  const files = [...filesIn(master, 'sr-master'), ...filesIn(slave, 'sr-slave')];
  const vdis = Object.values(await recordsOf(master, 'VDI'));
  const temporary = readdirSync(join(master.state, 'tmp'));
  return {
    found: [...files, ...temporary].sort(),
    expected: vdis.map(({ uuid }) => `${String(uuid)}.raw`).sort(),
  };
}

async function digestOf(master: ServedPool, vdi: string): Promise<string> {
  const { status, body } = await master.send('GET', `/export_raw_vdi?vdi=${vdi}&format=raw`);
  expect(status).toBe(200);
  return sha256(body);
}

test(`${KILLS} kills of two hosts`, async () => {
  const hosts = await startTwoHosts();
  const { master, slave } = hosts;
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const patch = await samplePatch('kills of two', 6 * MIB);
  expect((await master.send('PUT', '/pool_patch_upload', patch.bytes)).status).toBe(200);
  const first = String(Object.values(await recordsOf(master, 'VDI'))[0]?.['uuid']);
  const digest = await digestOf(master, first);
  /** UUIDs of copies that were acknowledged, and that nobody has begun to destroy since. */
  const acknowledged = new Set([first]);
  const copy = async (from: string, sr: string): Promise<void> => {
    const [vdi, target] = [await refOf(master, 'VDI', from), await refOf(master, 'SR', sr)];
    const made = await master.call('VDI.copy', vdi, target);
    acknowledged.add(String(await master.call('VDI.get_uuid', made)));
  };
  const destroy = async (uuid: string): Promise<void> => {
    acknowledged.delete(uuid);
    await master.call('VDI.destroy', await refOf(master, 'VDI', uuid));
  };
  const startedAt = performance.now();
  await copy(first, SLAVE_SR);
  const latestMilliseconds = LATEST * (performance.now() - startedAt);
  const outcomes = { done: 0, cut: 0 };
  for (let kill = 0; kill < KILLS; kill += 1) {
    const others = [...acknowledged].filter((uuid) => uuid !== first);
    const there = others.find((uuid) => filesIn(slave, 'sr-slave').includes(`${uuid}.raw`));
    const works = [
      () => copy(first, SLAVE_SR),
      () => copy(there ?? first, there === undefined ? SLAVE_SR : MASTER_SR),
      () => (others.length > 2 ? destroy(others[0] ?? '') : copy(first, SLAVE_SR)),
    ];
    const ended = (works[kill % 3] ?? works[0])?.().then(
      () => (outcomes.done += 1),
      () => (outcomes.cut += 1),
    );
    await new Promise((done) => setTimeout(done, ((kill * 11) % KILLS) * (latestMilliseconds / KILLS)));
    const [victim, isMaster] = kill % 4 === 3 ? [master, true] : [slave, false];
    await victim.kill();
    if (isMaster) await ended;
    if (isMaster) await master.start();
    else await slave.startWith(...joinArguments(master));
    await ended;
    await master.logIn();
    expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
    const { found, expected } = await eventually(
      () => order(hosts),
      (now) => now.found.join() === now.expected.join(),
    );
    expect(found).toEqual(expected);
    for (const uuid of acknowledged) expect(await digestOf(master, uuid), uuid).toBe(digest);
  }
  // It did hit things in the middle, and let others pass.
  expect(outcomes.cut).toBeGreaterThan(2);
  expect(outcomes.done).toBeGreaterThan(0);
}, 300_000);
