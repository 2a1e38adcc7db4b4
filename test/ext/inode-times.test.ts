import { describe, expect, test } from 'vitest';
import { decodeTime } from '../../src/ext/inode-times.js';

/*
 * The table of Linux, Documentation/filesystems/ext4 ("Inode Timestamps"): extra epoch bits, the sign bit of the 32-bit
 * time, and the seconds that they mean; each with its first and last second.
 */
const EPOCHS = [
  [0, 0x80000000, -0x80000000],
  [0, 0xffffffff, -1],
  [0, 0x00000000, 0],
  [0, 0x7fffffff, 0x7fffffff],
  [1, 0x80000000, 0x080000000],
  [1, 0xffffffff, 0x0ffffffff],
  [1, 0x00000000, 0x100000000],
  [1, 0x7fffffff, 0x17fffffff],
  [2, 0x80000000, 0x180000000],
  [2, 0xffffffff, 0x1ffffffff],
  [2, 0x00000000, 0x200000000],
  [2, 0x7fffffff, 0x27fffffff],
  [3, 0x80000000, 0x280000000],
  [3, 0xffffffff, 0x2ffffffff],
  [3, 0x00000000, 0x300000000],
  [3, 0x7fffffff, 0x37fffffff],
] as const;

describe('a time', () => {
  test.for(EPOCHS)('of epoch %i and base %i', ([epoch, base, seconds]) => {
    expect(decodeTime(base, epoch)).toEqual({ seconds, nanoseconds: 0 });
    expect(decodeTime(base, epoch + 4 * 999_999_999)).toEqual({ seconds, nanoseconds: 999_999_999 });
  });
});
