/*
 * Not a test: the process that pool-killed.test.ts kills. It works through batches of calls for ever, and says on
 * standard output, synchronously, what it is about to do and what was acknowledged.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, writeSync } from 'node:fs';
import { argv } from 'node:process';
import { FolderRepository } from '../../src/pool/folder-repository.js';
import { openPool, type Pool } from '../../src/pool/open-pool.js';
import { VDI_CLONE } from '../../src/pool/storage.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';

export interface ChildPlan {
  readonly state: string;
  readonly keyring: string;
  readonly srs: readonly { readonly path: string; readonly uuid: string }[];
  readonly patches: readonly ChildPatch[];
  readonly seed: number;
}

export interface ChildPatch {
  readonly path: string;
  readonly uuid: string;
  readonly sha256: string;
}

/** One line of its output. `batch` ends all that was started before. */
export type ChildEvent =
  | { readonly event: 'ready' | 'batch' }
  | { readonly event: 'upload' | 'uploaded'; readonly uuid: string; readonly sha256: string }
  | { readonly event: 'copied'; readonly ref: string; readonly uuid: string }
  | { readonly event: 'removeCopy' | 'removedCopy'; readonly ref: string }
  | { readonly event: 'remove' | 'removed'; readonly uuid: string };

function say(event: ChildEvent): void {
  writeSync(1, `${JSON.stringify(event)}\n`);
}

/** A small generator of numbers from 0 to 1 (Park and Miller): the same seed, the same batches. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

async function* slowly(bytes: Uint8Array, random: () => number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 64 * 1024) {
    await new Promise((resolve) => setTimeout(resolve, random() * 4));
    yield new Uint8Array(bytes.subarray(at, at + 64 * 1024));
  }
}

async function batch(pool: Pool, plan: ChildPlan, random: () => number): Promise<void> {
  const { database, patches, vdis } = pool;
  const any = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const records = database.all('pool_patch');
  const backing = new Set(records.map(([, { VDI }]) => VDI));
  const copies = database.getAll('VDI').filter((ref) => !backing.has(ref));
  const patch = any(records);
  const kind = random();
  if (patch === undefined || kind < 0.55) {
    const chosen = Array.from({ length: 1 + Math.floor(random() * 3) }, () => any(plan.patches));
    const uploads = chosen.flatMap((one) => (one === undefined ? [] : [one]));
    for (const { uuid, sha256 } of uploads) say({ event: 'upload', uuid, sha256 });
    await Promise.all(
      uploads.map(async ({ path, uuid, sha256 }) => {
        const bytes = readFileSync(path);
        const task = await pool.tasks.create('upload');
        await patches.upload({ source: slowly(bytes, random), contentLength: bytes.length, task });
        say({ event: 'uploaded', uuid, sha256 });
      }),
    );
  } else if (kind < 0.75 && copies.length < 4) {
    const [, { uuid, VDI }] = patch;
    const target = any(database.getAll('SR')) ?? '';
    if (database.find('VDI', VDI) === undefined) return;
    const ref = random() < 0.3 ? await vdis.clone(VDI) : await vdis.copy(VDI, target);
    say({ event: 'copied', ref, uuid });
  } else if (kind < 0.85) {
    const ref = any(copies);
    if (ref === undefined) return;
    say({ event: 'removeCopy', ref });
    await vdis.destroy(ref);
    say({ event: 'removedCopy', ref });
  } else {
    const [ref, { uuid, VDI }] = patch;
    say({ event: 'remove', uuid });
    if (kind < 0.9) await patches.poolClean(ref);
    else if (kind < 0.95 || database.find('VDI', VDI) === undefined) await patches.destroy(ref);
    else await vdis.destroy(VDI);
    say({ event: 'removed', uuid });
  }
}

const plan = JSON.parse(readFileSync(argv[2] ?? '', 'utf8')) as ChildPlan;
const repositories = plan.srs.map(({ path, uuid }) =>
  FolderRepository.open({ path, uuid, nameLabel: path, capabilities: new Set([VDI_CLONE]), now: Date.now }),
);
const pool = await openPool({
  stateFolder: plan.state,
  repositories,
  defaultSr: plan.srs[0]?.uuid,
  policy: { keyrings: [plan.keyring] },
  environment: { searchPath: DEFAULT_SEARCH_PATH },
  hostName: 'host-one',
  address: '127.0.0.1',
  now: Date.now,
  newUuid: randomUUID,
  // Written anew often, so that it is killed in that, too.
  journalSlackBytes: 16 * 1024,
});
const random = generator(plan.seed);
say({ event: 'ready' });
for (;;) {
  await batch(pool, plan, random);
  say({ event: 'batch' });
}
