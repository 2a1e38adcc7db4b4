/*
 * Superblocks, descriptors and bitmaps of good images are overwritten at random, fields and bytes, with the checksum
 * of the superblock put right. What comes of it is findings, or one error of kind `image`; reading stays within the
 * disk, and ends.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findBackupSuperblock } from '../../src/ext/backup-superblock.js';
import { blockUse } from '../../src/ext/block-use.js';
import { bitmapBytes, checkBitmaps } from '../../src/ext/check-bitmaps.js';
import { crc32c } from '../../src/ext/crc32c.js';
import { openExt, type ExtFilesystem } from '../../src/ext/filesystem.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from '../../src/ext/layout.js';
import { metadataRuns } from '../../src/ext/metadata-runs.js';
import type { Finding } from '../../src/findings.js';
import { fieldBytes } from '../../src/struct.js';
import { KIB, MIB } from '../../src/units.js';
import { fixtureBytes, memoryReader } from './fixture-images.js';

const NAMES = [
  'ext2-1k',
  'ext2-revision-0',
  'ext2-small-groups',
  'ext4-small-groups',
  'ext4-uninit-bg',
  'ext4-meta-bg-1k',
  'ext4-bigalloc',
  'ext4-sparse-super2',
  'genext2fs-4k',
] as const;

/** More than any damage to one of these images can make us report: see `finding-cap.ts`. */
const MAX_FINDINGS = 200;
const MAX_REPORTED_CHARACTERS = 512;
/** The largest file system a damaged superblock may tell of costs as many steps; most of them cost nothing. */
const MAX_STEPS = 50_000;

interface Outcome {
  readonly end: 'result' | 'error';
  readonly findings: readonly Finding[];
}

async function everything(filesystem: ExtFilesystem): Promise<void> {
  const { blockCount } = filesystem.superblock;
  let steps = 0;
  for (const run of metadataRuns(filesystem)) {
    steps += 1;
    const inside = run.blockCount > 0 && run.firstBlock + run.blockCount <= blockCount;
    if (!inside) throw new Error(`${run.name} from ${run.firstBlock} on, ${run.blockCount} blocks`);
    if (steps > MAX_STEPS) break;
  }
  // A caller asks first, and leaves what is too much.
  if (bitmapBytes(filesystem) > 4 * MIB) return;
  await checkBitmaps(filesystem);
  let end = 0;
  for await (const run of blockUse(filesystem)) {
    if (run.firstBlock !== end) throw new Error(`a run from ${run.firstBlock} on, behind ${end}`);
    end += run.blockCount;
    steps += 1;
    if (steps > MAX_STEPS) return;
  }
  expect(end).toBe(blockCount);
}

async function readDamaged(bytes: Buffer): Promise<Outcome> {
  const findings: Finding[] = [];
  const inner = memoryReader(bytes);
  const read = (offset: number, length: number) => {
    expect(Number.isSafeInteger(offset) && offset >= 0 && length > 0 && length <= MIB).toBe(true);
    expect(offset + length).toBeLessThanOrEqual(bytes.length);
    return inner(offset, length);
  };
  const report = (finding: Finding) => void findings.push(finding);
  let end: Outcome['end'] = 'result';
  try {
    await everything(await openExt(read, { report, diskBytes: bytes.length }));
  } catch (error) {
    expect(error).toMatchObject({ name: 'PatchVdiError', kind: 'image' });
    end = 'error';
  }
  await findBackupSuperblock(read, bytes.length);
  return { end, findings };
}

function fixChecksum(bytes: Buffer): void {
  const raw = bytes.subarray(SUPERBLOCK_OFFSET_BYTES, SUPERBLOCK_OFFSET_BYTES + superBlock.sizeBytes);
  superBlock.set(raw, 's_checksum', crc32c(0xffffffff, raw.subarray(0, superBlock.rows.s_checksum[0])));
}

const interestingByte = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
const fields = Object.values(superBlock.rows).filter(([, type]) => fieldBytes(type) <= 8);
const fieldDamage = fc.record({
  at: fc.constantFrom(...fields.map(([offset]) => SUPERBLOCK_OFFSET_BYTES + offset)),
  values: fc.array(interestingByte, { minLength: 1, maxLength: 4 }),
});
/** Descriptors and bitmaps are within the first 96 KiB of all of these. */
const byteDamage = fc.record({
  at: fc.integer({ min: SUPERBLOCK_OFFSET_BYTES, max: 96 * KIB }),
  values: fc.array(interestingByte, { minLength: 1, maxLength: 8 }),
});
const damages = fc.array(fc.oneof(fieldDamage, byteDamage), { minLength: 1, maxLength: 5 });

describe('a damaged image gives findings or an error of kind image', () => {
  test.for(NAMES)('%s', async (name) => {
    const good = fixtureBytes(name);
    expect(await readDamaged(good)).toEqual({ end: 'result', findings: [] });
    const ends = { result: 0, error: 0 };
    let withFindings = 0;
    await fc.assert(
      fc.asyncProperty(damages, async (list) => {
        const bytes = Buffer.from(good);
        for (const { at, values } of list) bytes.set(values, at);
        fixChecksum(bytes);
        const { end, findings } = await readDamaged(bytes);
        ends[end] += 1;
        if (findings.length > 0) withFindings += 1;
        expect(findings.length).toBeLessThanOrEqual(MAX_FINDINGS);
        for (const { found, expected, structure } of findings) {
          expect(`${structure}${found}${expected}`).toMatch(/^[ -~]+$/);
          expect((structure + found + expected).length).toBeLessThan(MAX_REPORTED_CHARACTERS);
        }
      }),
      { numRuns: 100 },
    );
    // The premise: all ends are met.
    expect(Math.min(ends.result, ends.error, withFindings)).toBeGreaterThan(0);
  });
});

function diskOfGroups(groupCount: number): Buffer {
  const raw = superBlock.decode(fixtureBytes('ext2-1k').subarray(SUPERBLOCK_OFFSET_BYTES));
  const head = superBlock.encode({
    ...raw,
    s_blocks_count_lo: 1 + 8 * groupCount,
    s_blocks_per_group: 8,
    s_clusters_per_group: 8,
    s_inodes_per_group: 8,
    s_inodes_count: 8 * groupCount,
  });
  const disk = Buffer.alloc(40 * MIB, 0xa5);
  disk.set(head, SUPERBLOCK_OFFSET_BYTES);
  return disk;
}

/** What a disk of 2 TiB has, in groups of 8 MiB. */
const MAX_GROUPS = 262_144;

test('as many groups as there may be are opened without as many objects or findings', async () => {
  const disk = diskOfGroups(MAX_GROUPS);
  const findings: Finding[] = [];
  const report = (finding: Finding) => void findings.push(finding);
  const { groups } = await openExt(memoryReader(disk), { report, diskBytes: disk.length });
  expect(groups).toHaveLength(MAX_GROUPS);
  expect(findings.length).toBeLessThan(50);
});

test('one group more is refused', async () => {
  const disk = diskOfGroups(MAX_GROUPS + 1);
  const report = (): void => undefined;
  await expect(openExt(memoryReader(disk), { report, diskBytes: disk.length })).rejects.toMatchObject({
    kind: 'image',
    context: { found: `${MAX_GROUPS + 1} groups`, expected: `${MAX_GROUPS} at most` },
  });
});
