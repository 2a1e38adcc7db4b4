/*
 * Random sequences of calls, deletions by hand and restarts, against a model that is nothing but the mission's
 * sentences about records, VDIs and files.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Pool } from '../../src/pool/open-pool.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import {
  download,
  filesOf,
  oldPatch,
  openAt,
  poolPlace,
  refused,
  samplePatch,
  sha256,
  upload,
  type PoolPlace,
  type SamplePatch,
} from '../pool/test-pool.js';

/** A record as the mission sees it: SHA-256 of what stands behind it. */
interface ModelPatch {
  file: string | undefined;
  vdi: string | undefined;
  applied: boolean;
}

type Model = Map<string, ModelPatch>;

type Command = readonly [
  name:
    | 'upload'
    | 'old file'
    | 'clean'
    | 'clean_on_host'
    | 'pool_clean'
    | 'VDI.destroy'
    | 'delete the file'
    | 'destroy'
    | 'apply'
    | 'restart',
  patch: number,
  content: number,
];

const COMMANDS: fc.Arbitrary<Command> = fc.tuple(
  fc.oneof(
    { weight: 3, arbitrary: fc.constant('upload' as const) },
    { weight: 3, arbitrary: fc.constant('old file' as const) },
    { weight: 2, arbitrary: fc.constantFrom('clean' as const, 'clean_on_host' as const) },
    { weight: 4, arbitrary: fc.constantFrom('pool_clean' as const, 'VDI.destroy' as const) },
    { weight: 4, arbitrary: fc.constantFrom('delete the file' as const, 'destroy' as const) },
    { weight: 1, arbitrary: fc.constant('apply' as const) },
    { weight: 4, arbitrary: fc.constant('restart' as const) },
  ),
  fc.nat(1),
  fc.nat(1),
);

class Run {
  readonly #place: PoolPlace;
  readonly #model: Model = new Map();
  readonly #refs = new Map<string, string>();
  #pool: Pool;

  constructor(place: PoolPlace, pool: Pool) {
    this.#place = place;
    this.#pool = pool;
  }

  async apply([name]: Command, sample: SamplePatch): Promise<void> {
    const { uuid } = sample;
    const { patches, vdis, database } = this.#pool;
    const model = this.#model.get(uuid);
    const ref = database.findByUuid('pool_patch', uuid);
    if (name === 'upload') {
      const made = await upload(this.#pool, sample);
      // "takes the new content and keeps the reference"
      if (model !== undefined) expect(made).toBe(this.#refs.get(uuid));
      this.#refs.set(uuid, made);
      this.#model.set(uuid, { file: undefined, vdi: sample.sha256, applied: model?.applied ?? false });
      return;
    }
    if (name === 'restart') {
      await this.#pool.close();
      this.#pool = await openAt(this.#place);
      // "only be deleted if both […] a missing file on the master *and* […] a dangling reference"
      for (const [key, { file, vdi, applied }] of this.#model) {
        if (file === undefined && vdi === undefined && !applied) this.#model.delete(key);
      }
      return;
    }
    if (name === 'old file') {
      if (model !== undefined) return;
      this.#refs.set(uuid, (await oldPatch(this.#pool, sample)).ref);
      this.#model.set(uuid, { file: sample.sha256, vdi: undefined, applied: false });
      return;
    }
    if (model === undefined || ref === undefined) return;
    const { VDI } = database.get('pool_patch', ref);
    switch (name) {
      case 'clean':
        await patches.clean(ref);
        model.file = undefined;
        break;
      case 'clean_on_host':
        await patches.cleanOnHost(ref, this.#pool.host);
        model.file = undefined;
        break;
      case 'pool_clean':
        await patches.poolClean(ref);
        model.file = undefined;
        model.vdi = undefined;
        break;
      case 'VDI.destroy':
        if (model.vdi !== undefined) await vdis.destroy(VDI);
        model.vdi = undefined;
        break;
      case 'delete the file':
        rmSync(join(this.#pool.patchFolder, uuid), { force: true });
        model.file = undefined;
        break;
      case 'apply':
        if (!model.applied) {
          // What an apply leaves: the record, and what the host keeps, which must agree after a restart.
          const values = { host: this.#pool.host, pool_patch: ref, applied: true };
          await database.change((draft) => draft.create('host_patch', values));
          mkdirSync(join(this.#place.state, 'applied'), { recursive: true });
          writeFileSync(join(this.#place.state, 'applied', uuid), `<info uuid="${uuid}"/>`);
        }
        model.applied = true;
        break;
      case 'destroy':
        if (model.applied) expect((await refused(patches.destroy(ref))).code).toBe('PATCH_IS_APPLIED');
        else {
          await patches.destroy(ref);
          this.#model.delete(uuid);
        }
        break;
      default: {
        const never: never = name;
        throw new Error(never);
      }
    }
  }

  async check(): Promise<void> {
    const { database } = this.#pool;
    const uuids = database.all('pool_patch').map(([, { uuid }]) => uuid);
    expect(uuids.sort()).toEqual([...this.#model.keys()].sort());
    for (const [uuid, { file, vdi }] of this.#model) {
      const ref = database.getByUuid('pool_patch', uuid);
      expect(ref).toBe(this.#refs.get(uuid));
      const { VDI } = database.get('pool_patch', ref);
      expect(database.find('VDI', VDI) === undefined).toBe(vdi === undefined);
      const content = file ?? vdi;
      if (content !== undefined) expect(sha256(await download(this.#pool, uuid))).toBe(content);
      else expect((await refused(download(this.#pool, uuid))).code).toBe('CANNOT_FIND_PATCH');
    }
    const stored = [...this.#model.values()].filter(({ vdi }) => vdi !== undefined).length;
    expect(filesOf(this.#place)).toHaveLength(stored);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

test('records, VDIs and files are as the mission says, whatever is called in whatever order', async (context) => {
  requireTool(context, 'mke2fs', 'debugfs', 'gpgv');
  const folder = temporaryFolder();
  const samples: SamplePatch[][] = [];
  for (const patch of [0, 1]) {
    const uuid = `0000000${patch + 1}-0000-4000-8000-000000000000`;
    samples.push([
      await samplePatch(`${patch} first`, 20_000, { uuid }),
      await samplePatch(`${patch} second`, 20_000, { uuid }),
    ]);
  }
  let number = 0;
  const used = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(COMMANDS, { minLength: 5, maxLength: 14 }), async (commands) => {
      const place = poolPlace(join(folder, `run-${(number += 1)}`));
      const run = new Run(place, await openAt(place));
      try {
        for (const command of commands) {
          const sample = samples[command[1]]?.[command[2]];
          if (sample === undefined) throw new Error('no such sample');
          await run.apply(command, sample);
          used.add(command[0]);
          await run.check();
        }
      } finally {
        await run.close();
      }
    }),
    { numRuns: 25 },
  );
  // The premise: every command was among them.
  expect(used.size).toBe(10);
}, 300_000);
