/*
 * kill -9 at 50 moments of uploads, copies, cleanings and destructions, through the server: after a restart no record
 * dangles, no disk is without a record, no temporary file is left, and every upload that was acknowledged is there.
 */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { samplePatch, sha256, type SamplePatch } from '../pool/test-pool.js';
import { ServedPool } from './served-pool.js';

const KILLS = 50;
/** The latest moment, in times of what an upload takes here and now: by then most things are over. */
const LATEST = 1.6;

type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Seen {
  readonly patches: Records;
  readonly vdis: Records;
}

async function look(served: ServedPool): Promise<Seen> {
  const patches = (await served.call('pool_patch.get_all_records')) as Records;
  return { patches, vdis: (await served.call('VDI.get_all_records')) as Records };
}

/** The disks of both SRs, and what does not belong there. */
function disksAndRemains(served: ServedPool): { disks: string[]; remains: string[] } {
  const names = ['sr-one', 'sr-two'].flatMap((sr) => readdirSync(`${served.work.folder}/${sr}`));
  const isDisk = (name: string): boolean => /^[0-9a-f-]{36}\.raw$/.test(name);
  const remains = names.filter((name) => !isDisk(name) && name !== '.patch-vdi-sr.json');
  return {
    disks: names
      .filter(isDisk)
      .map((name) => name.slice(0, 36))
      .sort(),
    remains: [...remains, ...readdirSync(`${served.state}/tmp`)],
  };
}

async function expectOrder(
  served: ServedPool,
  acknowledged: ReadonlyMap<string, SamplePatch>,
): Promise<Seen> {
  const seen = await look(served);
  const { disks, remains } = disksAndRemains(served);
  expect(remains).toEqual([]);
  expect(disks).toEqual(
    Object.values(seen.vdis)
      .map(({ uuid }) => String(uuid))
      .sort(),
  );
  for (const { VDI, uuid } of Object.values(seen.patches)) {
    expect(Object.keys(seen.vdis), `the VDI of patch ${String(uuid)}`).toContain(VDI);
  }
  for (const [uuid, patch] of acknowledged) {
    const { status, body } = await served.send('GET', `/pool_patch_download?uuid=${uuid}`);
    expect([status, sha256(body)], uuid).toEqual([200, patch.sha256]);
  }
  return seen;
}

test(`${KILLS} kills`, async () => {
  const served = await ServedPool.start({
    repositories: [
      '- {name_label: one, path: sr-one, capabilities: [VDI_CLONE], default: true}',
      '- {name_label: two, path: sr-two, capabilities: [VDI_CLONE]}',
    ],
  });
  const patches = await Promise.all(['a', 'b', 'c'].map((seed) => samplePatch(seed, 6 * MIB)));
  /** Uploads that the server has answered, and that nobody has begun to remove since. */
  const acknowledged = new Map<string, SamplePatch>();
  const outcomes = { done: 0, cut: 0 };
  await served.logIn();
  const [first] = patches as [SamplePatch];
  const startedAt = performance.now();
  expect((await served.send('PUT', '/pool_patch_upload', first.bytes)).status).toBe(200);
  const latestMilliseconds = LATEST * (performance.now() - startedAt);
  acknowledged.set(first.uuid, first);
  for (let kill = 0; kill < KILLS; kill += 1) {
    await served.logIn();
    const { patches: records, vdis } = await expectOrder(served, acknowledged);
    const [patchRef, record] = Object.entries(records)[0] ?? [];
    const patch = patches[kill % patches.length] as SamplePatch;
    const uploads = async (): Promise<unknown> => {
      const { status } = await served.send('PUT', '/pool_patch_upload', patch.bytes);
      expect(status).toBe(200);
      return acknowledged.set(patch.uuid, patch);
    };
    const others: readonly (() => Promise<unknown>)[] =
      record === undefined
        ? []
        : [
            async () => {
              const srs = (await served.call('SR.get_by_name_label', 'two')) as string[];
              await served.call('VDI.copy', record['VDI'], srs[0]);
            },
            async () => {
              // Copies stay when their patch goes: they are somebody's.
              const kept = new Set(Object.values(records).map(({ VDI }) => VDI));
              const copy = Object.keys(vdis).find((ref) => !kept.has(ref));
              if (copy !== undefined) await served.call('VDI.destroy', copy);
            },
            async () => {
              acknowledged.delete(String(record['uuid']));
              await served.call('pool_patch.pool_clean', patchRef);
              await served.call('pool_patch.destroy', patchRef);
            },
          ];
    const work = [uploads, ...others][kill % 5] ?? uploads;
    const ended = work().then(
      () => (outcomes.done += 1),
      () => (outcomes.cut += 1),
    );
    // Moments spread over the whole of it, others in every round.
    await new Promise((done) => setTimeout(done, ((kill * 37) % KILLS) * (latestMilliseconds / KILLS)));
    await served.kill();
    await ended;
    await served.start();
  }
  await served.logIn();
  await expectOrder(served, acknowledged);
  // It did hit things in the middle, and let others pass.
  expect(outcomes.cut).toBeGreaterThan(5);
  expect(outcomes.done).toBeGreaterThan(0);
}, 300_000);
