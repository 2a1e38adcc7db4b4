import { describe, expect, test } from 'vitest';
import type { Extent } from '../../src/ext/file-extents.js';
import { mapImage, payloadInOrder, payloadRange, type TemplateFacts } from '../../src/plan/image-map.js';
import { MIB } from '../../src/units.js';
import { BLOCK_BYTES, handMadeFacts, metadata } from './layouts.js';

const good = handMadeFacts(16 * MIB, 10_000, 512);

const extent = (fileBlock: number, fsBlock: number, blockCount: number, unwritten = false): Extent => ({
  fileBlock,
  fsBlock,
  blockCount,
  unwritten,
});
test('a good template becomes its metadata and its payload, in order, the payload cut to its length', () => {
  const ranges = mapImage(good);
  expect(ranges.map(({ name, offset, length }) => [name, offset, length])).toEqual([
    ['superblock', 0, 4096],
    ['group descriptors', 4096, 4096],
    ['block bitmaps', 8192, 4096],
    ['inode bitmaps', 73_728, 4096],
    ['inode tables', 139_264, 4096],
    ['root directory', 1_187_840, 4096],
    ['lost+found', 1_191_936, 16_384],
    ['patch', 2 * MIB, 10_000],
  ]);
  expect(ranges.map(({ payloadOffset }) => payloadOffset).filter((at) => at !== undefined)).toEqual([0]);
});

test('extents that continue each other become one range, others stay apart', () => {
  const extents = [extent(0, 512, 2), extent(2, 514, 1), extent(3, 600, 4)];
  const payload = mapImage({ ...good, payloadLength: 28_000, extents }).filter(
    ({ name }) => name === 'patch',
  );
  expect(payload).toEqual([
    payloadRange(512 * BLOCK_BYTES, 3 * BLOCK_BYTES, 0),
    payloadRange(600 * BLOCK_BYTES, 28_000 - 3 * BLOCK_BYTES, 3 * BLOCK_BYTES),
  ]);
});

describe('a template is refused', () => {
  /** 10 000 bytes are three blocks. */
  const cases: ReadonlyArray<readonly [string, Partial<TemplateFacts>, string, string]> = [
    [
      'with an unwritten extent',
      { extents: [extent(0, 512, 1), extent(1, 513, 2, true)] },
      'the file patch has an unwritten extent, which would read as zeros',
      '2 unwritten blocks from file block 1',
    ],
    [
      'with a hole at the start',
      { extents: [extent(1, 513, 2)] },
      'the file patch has a hole',
      'file block 1',
    ],
    [
      'with a hole in the middle',
      { extents: [extent(0, 512, 1), extent(2, 514, 1)] },
      'the file patch has a hole',
      'file block 2',
    ],
    [
      'with blocks that come twice',
      { extents: [extent(0, 512, 2), extent(1, 514, 2)] },
      'the file patch has a hole',
      'file block 1',
    ],
    [
      'with too few blocks',
      { extents: [extent(0, 512, 2)] },
      'the file patch has too few blocks',
      '8192 bytes',
    ],
    ['with no blocks', { extents: [] }, 'the file patch has too few blocks', '0 bytes'],
    [
      'with an extent past the end of the file',
      { extents: [extent(0, 512, 3), extent(3, 515, 1)] },
      'the file patch has blocks past its end',
      '1 blocks from file block 3',
    ],
    [
      'with one block too many',
      { extents: [extent(0, 512, 4)] },
      'the file patch has blocks past its end',
      '4 blocks from file block 0',
    ],
    [
      'with the payload over metadata',
      { extents: [extent(0, 289, 3)] },
      'two parts of the image overlap',
      `"root directory" at ${290 * BLOCK_BYTES} within "patch", which ends at ${289 * BLOCK_BYTES + 10_000}`,
    ],
    [
      'with the payload over itself',
      { extents: [extent(0, 512, 2), extent(2, 513, 1)] },
      'two parts of the image overlap',
      `"patch" at ${513 * BLOCK_BYTES} within "patch", which ends at ${514 * BLOCK_BYTES}`,
    ],
    [
      'with metadata within the last, partly used block of the payload',
      { metadata: [metadata('superblock', 0, 1), { ...metadata('odd', 0, 1), offset: 2 * MIB + 9_999 }] },
      'two parts of the image overlap',
      `"odd" at ${2 * MIB + 9_999} within "patch", which ends at ${2 * MIB + 10_000}`,
    ],
    [
      'with two pieces of metadata in one place',
      { metadata: [metadata('superblock', 0, 2), metadata('group descriptors', 1, 1)] },
      'two parts of the image overlap',
      '"group descriptors" at 4096 within "superblock", which ends at 8192',
    ],
    [
      'with the payload beyond the image',
      { extents: [extent(0, 4094, 3)] },
      'the template is larger than the image',
      `"patch" ends at ${4094 * BLOCK_BYTES + 10_000}`,
    ],
    [
      'with metadata beyond the image',
      { metadata: [metadata('superblock', 0, 1), metadata('inode tables', 4096, 1)] },
      'the template is larger than the image',
      `"inode tables" ends at ${4097 * BLOCK_BYTES}`,
    ],
  ];

  test.each(cases)('%s', (_name, change, message, found) => {
    const attempt = (): unknown => mapImage({ ...good, ...change });
    expect(attempt).toThrow(
      expect.objectContaining({
        kind: 'tool',
        message,
        context: expect.objectContaining({ operation: 'plan the image', found }) as unknown,
      }) as Error,
    );
  });

  test('with metadata in the unused rest of the last block of the payload', () => {
    const facts = { ...good, metadata: [metadata('superblock', 0, 1), metadata('stray', 514, 1)] };
    expect(() => mapImage(facts)).toThrow(/overlap/);
  });
});

test('payloadInOrder tells whether a stream can be written front to back', () => {
  const inOrder = mapImage({ ...good, extents: [extent(0, 512, 1), extent(1, 600, 2)] });
  expect(payloadInOrder(inOrder)).toBe(true);
  const swapped = mapImage({ ...good, extents: [extent(0, 600, 1), extent(1, 512, 2)] });
  expect(payloadInOrder(swapped)).toBe(false);
});
