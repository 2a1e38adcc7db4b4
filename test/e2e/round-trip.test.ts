import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { difference, differingOffsets } from './judges/same-bytes.js';
import { MIB, uploadBytes } from './uploads.js';
import { ACCESSES, ALL_FORMATS, buildIn, FIXED } from './ways-to-build.js';
import { workspace } from './workspace.js';

/** Upload sizes and, by hand from "four times, at least 16 MiB, whole 2 MiB", the sizes of their disks. */
const SIZES = [
  [1, 16_777_216],
  [511, 16_777_216],
  [512, 16_777_216],
  [4095, 16_777_216],
  [4096, 16_777_216],
  [4097, 16_777_216],
  [2 * MIB - 1, 16_777_216],
  [2 * MIB, 16_777_216],
  [2 * MIB + 1, 16_777_216],
  [5 * MIB + 3, 23_068_672],
] as const;

const CASES = SIZES.flatMap(([size, virtualSize]) =>
  ALL_FORMATS.map((format) => [size, format, virtualSize] as const),
);

test.for(CASES)('an upload of %i bytes is what every judge finds in its %s image', async (row, context) => {
  requireImageJudges(context);
  const [size, format, virtualSize] = row;
  const work = workspace();
  const upload = work.input('upload', uploadBytes(size));
  const image = await buildIn(work, upload, format, ['pipe', 'file'], ['--allow-unsigned']);
  await expectPatchDisk(image, format, upload, virtualSize);
});

/** A fixed VHD goes the ways of a raw image, with a footer behind it: two sizes will do. */
const COMPARED = CASES.filter(([size, format]) => format !== 'vhd-fixed' || size % (2 * MIB) === 1);

test.for(COMPARED)(
  'an upload of %i bytes gives the same %s image in all nine ways',
  async ([size, format]) => {
    const work = workspace();
    const upload = work.input('upload', uploadBytes(size));
    const first = await buildIn(work, upload, format, ['file', 'file']);
    for (const source of ACCESSES) {
      for (const sink of ACCESSES) {
        if (source === 'file' && sink === 'file') continue;
        const other = await buildIn(work, upload, format, [source, sink]);
        expect(difference(other, first), basename(other)).toBeUndefined();
      }
    }
  },
);

test.for(
  [1, 4097, 5 * MIB + 3].flatMap((size) =>
    (['vhd', 'vhd-fixed'] as const).map((format) => [size, format] as const),
  ),
)('an upload of %i bytes: qemu-img converts the %s into the raw image', async ([size, format], context) => {
  requireTool(context, 'qemu-img', 'cmp');
  const work = workspace();
  const upload = work.input('upload', uploadBytes(size));
  const raw = await buildIn(work, upload, 'raw', ['file', 'file'], FIXED);
  const vhd = await buildIn(work, upload, format, ['file', 'pipe'], FIXED);
  convertToRaw(vhd, `${vhd}.raw`);
  expect(differingOffsets(`${vhd}.raw`, raw)).toEqual([]);
});
