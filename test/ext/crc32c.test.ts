import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from '../../src/ext/crc32c.js';
import { superBlock } from '../../src/ext/layout.js';
import { GIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { formatSample } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { readSuperblock } from './images.js';

const SEED = 0xffffffff;

/** As iSCSI uses it: inverted at the end, too. */
const inverted = (bytes: Uint8Array): number => ~crc32c(SEED, bytes) >>> 0;

describe('the examples of RFC 3720, appendix B.4', () => {
  const counting = Uint8Array.from({ length: 32 }, (_, index) => index);
  const readCommand = Buffer.from(
    '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' + '0200000000000000',
    'hex',
  );

  test.each([
    ['32 bytes of zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['32 incrementing bytes', counting, 0x46dd794e],
    ['32 decrementing bytes', Uint8Array.from(counting).reverse(), 0x113fdb5c],
    ['an iSCSI read command', readCommand, 0xd9963a56],
  ])('%s', (_name, bytes, expected) => {
    expect(inverted(bytes)).toBe(expected);
  });
});

test('the check value of CRC catalogues: "123456789" gives e3069283', () => {
  expect(inverted(Buffer.from('123456789'))).toBe(0xe3069283);
});

test('of nothing is the seed', () => {
  expect(crc32c(0x12345678, new Uint8Array(0))).toBe(0x12345678);
});

test('goes on where it stopped, wherever that was', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
      const halves = crc32c(crc32c(SEED, bytes.subarray(0, cut)), bytes.subarray(cut));
      expect(halves).toBe(crc32c(SEED, bytes));
    }),
  );
});

test.for([16 * MIB, GIB])('is what mke2fs writes into the superblock of %d bytes', (sizeBytes, context) => {
  requireTool(context, 'mke2fs');
  const image = formatSample(join(temporaryFolder(), 'sample.raw'), sizeBytes);
  const bytes = readSuperblock(image);
  const [checksumOffset] = superBlock.rows.s_checksum;
  expect(crc32c(SEED, bytes.subarray(0, checksumOffset))).toBe(superBlock.decode(bytes).s_checksum);
});
