import { expect, test } from 'vitest';
import { crc16 } from '../../src/ext/crc16.js';

test('the check values of CRC catalogues: "123456789" gives bb3d (ARC), and 4b37 from ffff on (MODBUS)', () => {
  const digits = Buffer.from('123456789');
  expect(crc16(0, digits)).toBe(0xbb3d);
  expect(crc16(0xffff, digits)).toBe(0x4b37);
});

test('of nothing is the seed, and it goes on where it stopped', () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, index) => (index * 7) & 0xff);
  expect(crc16(0x1234, new Uint8Array(0))).toBe(0x1234);
  for (const cut of [1, 2, 150, 299]) {
    expect(crc16(crc16(0xffff, bytes.subarray(0, cut)), bytes.subarray(cut))).toBe(crc16(0xffff, bytes));
  }
});
