import { randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { USEFUL, USELESS, usesOf } from '../e2e/judges/importer.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { cutBuild, type CutBuild } from './cut-build.js';
import type { CutPoint } from './cutting-sink.js';

/*
 * An output may end anywhere. Here it is cut after every write, and at random points within writes, over all formats
 * and sinks; each time the judges say what could be made of what is left. More cuts: npm run test:cuts -- 2000.
 */

const MIB = 1024 * 1024;
const UPLOAD_BYTES = 2 * MIB + 3;
/** In all; each way to build gets its share. */
const CUTS = Number(process.env['PATCH_VDI_CUTS'] ?? 210);
const SEED = Number(process.env['PATCH_VDI_SEED'] ?? Date.now() % 2 ** 31);

const WAYS = [
  ['raw', 'file'],
  ['vhd', 'file'],
  ['vhd-fixed', 'file'],
  ['vhd', 'stream'],
] as const;

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pv-cuts-'));
  writeFileSync(join(root, 'upload'), randomBytes(UPLOAD_BYTES));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach((context) => {
  requireTool(context, 'e2fsck', 'qemu-img', 'mount');
  requireRoot(context);
});

/** mulberry32: small, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every boundary between writes as far as the number allows, then points within writes. */
function choosePoints(operations: number, count: number, next: () => number): CutPoint[] {
  const boundaries = Array.from({ length: operations }, (_, index) => ({ operations: index, fraction: 0 }));
  const step = Math.max(1, boundaries.length / (count / 2));
  const chosen = boundaries.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
  while (chosen.length < count)
    chosen.push({ operations: Math.floor(next() * operations), fraction: next() });
  return chosen;
}

type Way = (typeof WAYS)[number];

function freshBuild(format: Way[0], output: Way[1], name: string): CutBuild {
  const folder = join(root, name);
  const temporaryFolder = join(root, `${name}-tmp`);
  mkdirSync(folder);
  mkdirSync(temporaryFolder);
  return { upload: join(root, 'upload'), format, output, folder, temporaryFolder };
}

describe.each(WAYS)('%s to a %s', (format, output) => {
  const count = Math.ceil(CUTS / WAYS.length);

  test(
    `cut ${count} times (PATCH_VDI_SEED=${SEED}), it is never half there`,
    async () => {
      const whole = freshBuild(format, output, `${format}-${output}`);
      const { sink, left } = await cutBuild(whole);
      const path = left[0] ?? '';
      const kind = format === 'vhd-fixed' ? 'raw' : format;
      expect(left.map((each) => basename(each))).toEqual([`image.${format}`]);
      expect(await usesOf(path, kind)).toEqual(USEFUL);
      // A stream goes front to back, so within its seal, after the verdict, the superblock comes before the rest of
      // its block. In a file it is the last write of all.
      const cuttable = output === 'file' ? sink.operations : (sink.operationsBeforeSeal ?? 0);

      const points = choosePoints(cuttable, count, random(SEED));
      for (const [index, point] of points.entries()) {
        const build = freshBuild(format, output, `${format}-${output}-${index}`);
        const cut = await cutBuild(build, point);
        const where = `seed ${SEED}, cut ${index}: ${JSON.stringify(point)} of ${sink.operations}`;
        expect(readdirSync(build.temporaryFolder), where).toEqual([]);
        if (output === 'file') expect(readdirSync(build.folder), where).not.toContain(`image.${format}`);
        for (const each of cut.left) {
          const uses = await usesOf(each, kind);
          // The last write is the block of the superblock, whose first half is all of it: then nothing is missing.
          const complete = point.operations === sink.operations - 1 && point.fraction >= 0.5;
          if (!complete) expect(uses, where).toMatchObject(USELESS);
        }
        rmSync(build.folder, { recursive: true });
        rmSync(build.temporaryFolder, { recursive: true });
      }
    },
    30 * 60_000,
  );
});

test('sabotage: the judges see a superblock that was written before the payload', async () => {
  const build = freshBuild('raw', 'file', 'sabotage');
  const path = (await cutBuild(build)).left[0] ?? '';
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(UPLOAD_BYTES), 0, UPLOAD_BYTES, 2 * MIB);
  closeSync(fd);
  expect((await usesOf(path, 'raw')).mounts).toBe(true);
});
