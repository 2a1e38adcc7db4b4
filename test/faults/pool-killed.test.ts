import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { bundleChild } from '../pool/bundle-child.js';
import type { ChildEvent, ChildPatch, ChildPlan } from '../pool/killed-child.js';
import type { Pool } from '../../src/pool/open-pool.js';
import {
  SR_UUIDS,
  download,
  filesOf,
  openAt,
  poolPlace,
  samplePatch,
  sha256,
  type PoolPlace,
} from '../pool/test-pool.js';

const MOMENTS = Number(process.env['PATCH_VDI_KILLS'] ?? 50);

/** What must be true of each patch and copy after a restart, as far as the child's words tell. */
class Expectations {
  /** SHA-256 that the patch may have; undefined: it may be gone. */
  readonly patches = new Map<string, Set<string | undefined>>();
  readonly copies = new Map<string, { sha256: string; mayBeGone: boolean }>();
  /** Of the batch under way. */
  #batch = new Map<string, Set<string>>();
  #done = new Set<string>();

  take(event: ChildEvent): void {
    switch (event.event) {
      case 'ready':
        break;
      case 'batch':
        this.#batch = new Map();
        this.#done = new Set();
        break;
      case 'upload': {
        const batch = this.#batch.get(event.uuid) ?? new Set();
        this.#batch.set(event.uuid, batch.add(event.sha256));
        const now = this.patches.get(event.uuid) ?? new Set([undefined]);
        this.patches.set(event.uuid, now.add(event.sha256));
        break;
      }
      case 'uploaded':
        // From now on it is one of those of this batch: uploads of one UUID may end in any order.
        this.#done.add(event.uuid);
        this.patches.set(event.uuid, new Set(this.#batch.get(event.uuid)));
        break;
      case 'remove':
        this.patches.set(event.uuid, new Set([...(this.patches.get(event.uuid) ?? []), undefined]));
        break;
      case 'removed':
        this.patches.set(event.uuid, new Set([undefined]));
        break;
      case 'copied': {
        const [only, ...others] = this.patches.get(event.uuid) ?? [];
        // Of two uploads of one UUID in one batch either may have won: looked at when it is known.
        const content = others.length === 0 ? (only ?? '') : '';
        this.copies.set(event.ref, { sha256: content, mayBeGone: false });
        break;
      }
      case 'removeCopy': {
        const copy = this.copies.get(event.ref);
        if (copy !== undefined) copy.mayBeGone = true;
        break;
      }
      case 'removedCopy':
        this.copies.delete(event.ref);
        break;
      default: {
        const never: never = event;
        throw new Error(JSON.stringify(never));
      }
    }
  }
}

async function contentOf(pool: Pool, vdi: string): Promise<string> {
  const { repository, record } = pool.vdis.ready(vdi);
  const image = await repository.openVdi(record.uuid);
  try {
    const parts: Uint8Array[] = [];
    for await (const part of (await image.patch()).stream()) parts.push(part);
    return sha256(Buffer.concat(parts));
  } finally {
    await image.close();
  }
}

/** Everything that must hold after a restart; the expectations become what was found. */
async function check(
  pool: Pool,
  place: PoolPlace,
  expectations: Expectations,
  contents: ReadonlySet<string>,
  when: string,
): Promise<void> {
  const { database, report } = pool;
  expect(report, when).toMatchObject({ lostVdis: [], unknownDisks: [], unreachableSrs: [] });
  // No orphan VDI, no record without its disk, no temporary file.
  const disks = database.all('VDI').map(([, { SR, uuid }]) => {
    const name = database.get('SR', SR).uuid === SR_UUIDS.one ? 'one' : 'two';
    return `${name}/${uuid}.raw`;
  });
  expect(filesOf(place), when).toEqual(disks.sort());
  expect(
    database.all('VDI').map(([, { state }]) => state),
    when,
  ).not.toContain('creating');
  // No VDI that nobody can have been told of: every one is a patch's, or a copy, and has a whole patch in it.
  const backing = new Set(database.all('pool_patch').map(([, { VDI }]) => VDI));
  for (const [ref, { uuid }] of database.all('VDI')) {
    if (backing.has(ref)) continue;
    const content = await contentOf(pool, ref).catch((error: unknown) => String(error));
    expect([...contents], `${when}: what is in VDI ${uuid}`).toContain(content);
  }
  // No record that leads nowhere, and every acknowledged upload whole.
  const found = new Map<string, string>();
  for (const [, record] of database.all('pool_patch')) {
    expect(database.find('VDI', record.VDI), `${when}: VDI of ${record.uuid}`).toBeDefined();
    const content = sha256(await download(pool, record.uuid));
    expect(content, when).toBe(record.sha256);
    found.set(record.uuid, content);
  }
  for (const [uuid, allowed] of expectations.patches) {
    expect([...allowed], `${when}: content of ${uuid}`).toContain(found.get(uuid));
    expectations.patches.set(uuid, new Set([found.get(uuid)]));
  }
  expect([...expectations.patches.keys()], when).toEqual(expect.arrayContaining([...found.keys()]));
  for (const [ref, copy] of expectations.copies) {
    if (copy.mayBeGone && database.find('VDI', ref) === undefined) expectations.copies.delete(ref);
    else {
      const content = await contentOf(pool, ref);
      if (copy.sha256 !== '') expect(content, `${when}: copy ${ref}`).toBe(copy.sha256);
      expectations.copies.set(ref, { sha256: content, mayBeGone: false });
    }
  }
  const tasks = database.all('task').filter(([, { status }]) => status === 'pending');
  expect(tasks, when).toEqual([]);
}

/** Lets a child work for a while, and kills it. */
async function killOne(
  child: string,
  plan: string,
  milliseconds: number,
  expectations: Expectations,
): Promise<string> {
  const process_ = spawn(process.execPath, [child, plan], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(process_, 'exit');
  let errors = '';
  process_.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()));
  const lines = createInterface({ input: process_.stdout });
  const ready = new Promise<void>((started) => {
    lines.on('line', (line) => {
      const event = JSON.parse(line) as ChildEvent;
      expectations.take(event);
      if (event.event === 'ready') started();
    });
  });
  const ended = once(lines, 'close');
  await Promise.race([ready, exited]);
  await sleep(milliseconds);
  process_.kill('SIGKILL');
  const [, signal] = (await exited) as [number | null, string | null];
  await ended;
  expect(signal, errors).toBe('SIGKILL');
  expectations.take({ event: 'batch' });
  return errors;
}

test(
  `kill -9 at ${MOMENTS} random moments of upload, copy, clean: after a restart no dangling record, no orphan VDI, no temporary file; every acknowledged upload intact`,
  async (context) => {
    requireTool(context, 'mke2fs', 'debugfs', 'gpgv');
    const folder = temporaryFolder();
    const place = poolPlace(join(folder, 'pool'));
    const child = await bundleChild('test/pool/killed-child.ts', folder);
    const patches: ChildPatch[] = [];
    for (const number of [1, 2, 3, 4, 5, 6]) {
      // Two contents for each of three UUIDs.
      const uuid = `0000000${1 + (number % 3)}-0000-4000-8000-000000000000`;
      const patch = await samplePatch(`kill ${number}`, 300_000 + number, { uuid });
      const path = join(folder, `patch-${number}`);
      writeFileSync(path, patch.bytes);
      patches.push({ path, uuid, sha256: patch.sha256 });
    }
    await (await openAt(place)).close();

    const contents = new Set(patches.map(({ sha256: content }) => content));
    const expectations = new Expectations();
    const planPath = join(folder, 'plan.json');
    let disturbed = 0;
    for (let moment = 1; moment <= MOMENTS; moment += 1) {
      const seed = randomInt(1, 2_147_483_646);
      const milliseconds = randomInt(1, 700);
      const when = `moment ${moment}: seed ${seed}, killed after ${milliseconds} ms`;
      console.log(when);
      const srs = [
        { path: place.sr('one'), uuid: SR_UUIDS.one },
        { path: place.sr('two'), uuid: SR_UUIDS.two },
      ];
      const plan: ChildPlan = { state: place.state, keyring: place.keyring, srs, patches, seed };
      writeFileSync(planPath, JSON.stringify(plan));
      await killOne(child, planPath, milliseconds, expectations);
      const pool = await openAt(place);
      try {
        if (pool.report.unfinishedVdis.length + pool.report.remains.length > 0) disturbed += 1;
        await check(pool, place, expectations, contents, when);
      } finally {
        await pool.close();
      }
    }
    // The premise: many of them hit something that was under way.
    expect(disturbed).toBeGreaterThan(MOMENTS / 5);
  },
  20 * 60_000,
);
