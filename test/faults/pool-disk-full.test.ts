import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import type { Pool } from '../../src/pool/open-pool.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import {
  SR_UUIDS,
  download,
  filesOf,
  inChunks,
  openAt,
  poolPlace,
  refused,
  samplePatch,
  sha256,
  srRef,
  upload,
  type PoolPlace,
} from '../pool/test-pool.js';

/** Leaves so many bytes free on the disk of a folder. */
function fillBut(folder: string, freeBytes: number): void {
  const filler = join(folder, 'filler');
  writeFileSync(filler, '');
  for (;;) {
    const { bavail, bsize } = statfsSync(folder);
    const more = bavail * bsize - freeBytes;
    if (more <= 0) return;
    appendFileSync(filler, Buffer.alloc(Math.min(more, MIB)));
  }
}

/** A place where one folder is a disk of its own. */
async function withPlace(
  name: 'state' | 'sr-one',
  bytes: number,
  use: (place: PoolPlace, disk: string) => Promise<void>,
): Promise<void> {
  await withSmallDisk(bytes, async (disk) => {
    const place = poolPlace(join(temporaryFolder(), 'p'));
    if (name === 'state') await use({ ...place, state: join(disk, 'state') }, disk);
    else {
      const folder = join(disk, 'sr');
      await use({ ...place, sr: (sr) => (sr === 'one' ? folder : place.sr(sr)) }, disk);
    }
  });
}

async function expectNothingLeft(place: PoolPlace, pool: Pool, patches = 0): Promise<void> {
  expect(filesOf(place)).toHaveLength(patches);
  expect(pool.database.getAll('VDI')).toHaveLength(patches);
  expect(pool.database.getAll('pool_patch')).toHaveLength(patches);
  const pending = pool.database.all('task').filter(([, { status }]) => status === 'pending');
  expect(pending).toEqual([]);
  await Promise.resolve();
}

test('the disk of the SR fills up while an upload comes in: OUT_OF_SPACE, and nothing is left', async (context) => {
  requireRoot(context);
  await withPlace('sr-one', 24 * MIB, async (place, disk) => {
    const pool = await openAt(place);
    try {
      const { bytes } = await samplePatch('a', 3 * MIB);
      const task = await pool.tasks.create('upload');
      const source = (async function* (): AsyncGenerator<Uint8Array> {
        yield* inChunks(bytes.subarray(0, MIB));
        // Somebody else takes all that is left.
        fillBut(disk, 64 * 1024);
        yield* inChunks(bytes.subarray(MIB));
      })();
      const error = await refused(pool.patches.upload({ source, contentLength: bytes.length, task }));
      expect(error.description).toEqual(['OUT_OF_SPACE', SR_UUIDS.one]);
      expect(pool.database.get('task', task)).toMatchObject({
        status: 'failure',
        error_info: error.description,
      });
      await expectNothingLeft(place, pool);
      rmSync(join(disk, 'filler'));
      await upload(pool, { bytes });
    } finally {
      await pool.close();
    }
  });
});

test('the disk of the SR has less than four times the upload: OUT_OF_SPACE at once', async (context) => {
  requireRoot(context);
  await withPlace('sr-one', 24 * MIB, async (place, disk) => {
    const pool = await openAt(place);
    try {
      fillBut(disk, 15 * MIB);
      const error = await refused(upload(pool, await samplePatch('a')));
      expect(error.description).toEqual(['OUT_OF_SPACE', SR_UUIDS.one]);
      await expectNothingLeft(place, pool);
    } finally {
      await pool.close();
    }
  });
});

test('a copy into an SR that fills up leaves nothing', async (context) => {
  requireRoot(context);
  await withPlace('sr-one', 40 * MIB, async (place, disk) => {
    const pool = await openAt(place);
    try {
      const ref = await pool.vdis.create({ sr: srRef(pool, 'two'), nameLabel: 'x', virtualSize: 16 * MIB });
      const full = Buffer.alloc(16 * MIB, 1);
      await pool.vdis.import(ref, inChunks(full), { format: 'raw', contentLength: full.length });
      const task = await pool.tasks.create('copy');
      // When it has begun, the space goes.
      const stop = pool.database.subscribe(() => {
        if (pool.database.get('task', task).progress > 0.2 && !existsSync(join(disk, 'filler')))
          fillBut(disk, 65_536);
      });
      const error = await refused(pool.vdis.copy(ref, srRef(pool, 'one'), { task }));
      stop();
      expect(error.description).toEqual(['OUT_OF_SPACE', SR_UUIDS.one]);
      expect(filesOf(place)).toHaveLength(1);
      expect(pool.database.getAll('VDI')).toEqual([ref]);
    } finally {
      await pool.close();
    }
  });
});

/** From nothing at all to room for some of the steps: template, keyrings, records. */
const STATE_ROOM = [0, 4096, 8192, 16_384, 65_536, 131_072, 262_144];

test.for(STATE_ROOM)(
  'the state folder has %i bytes left: OUT_OF_SPACE or success, and nothing half',
  async (room, context) => {
    requireRoot(context);
    await withPlace('state', 4 * MIB, async (place, disk) => {
      const pool = await openAt(place);
      const first = await samplePatch('first');
      try {
        await upload(pool, first);
        const task = await pool.tasks.create('upload');
        fillBut(disk, room);
        const second = await samplePatch('second');
        const outcome = await upload(pool, second, { task }).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (outcome === undefined) await expectNothingLeft(place, pool, 2);
        else {
          expect(outcome).toMatchObject({
            name: 'PoolError',
            code: 'OUT_OF_SPACE',
            parameters: [place.state],
          });
          await expectNothingLeft(place, pool, 1);
          expect(pool.database.get('task', task).error_info).toEqual(['OUT_OF_SPACE', place.state]);
        }
        if (room === 0) expect(outcome).toBeDefined();
        rmSync(join(disk, 'filler'));
        await upload(pool, second);
      } finally {
        await pool.close();
      }
      const again = await openAt(place);
      try {
        expect(again.report).toMatchObject({
          torn: undefined,
          lostVdis: [],
          unfinishedVdis: [],
          remains: [],
          tasks: [],
        });
        expect(sha256(await download(again, first.uuid))).toBe(first.sha256);
        await expectNothingLeft(place, again, 2);
      } finally {
        await again.close();
      }
    });
  },
);

test('a state folder without any room: the pool does not open, and says why', async (context) => {
  requireRoot(context);
  await withSmallDisk(256 * 1024, async (disk) => {
    const place = { ...poolPlace(join(temporaryFolder(), 'p')), state: join(disk, 'state') };
    mkdirSync(place.state);
    fillBut(disk, 0);
    await expect(openAt(place)).rejects.toMatchObject({ kind: 'space' });
    expect(readdirSync(place.state).filter((name) => name.startsWith('state.journal'))).toEqual([]);
  });
});
