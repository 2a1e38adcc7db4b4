import { invariant } from '../errors.js';

/* Bitmaps of ext: bit 0 is the lowest bit of the first byte; a set bit is a block or inode in use. */

/** The lowest bit from `from` on that is clear, or -1. */
export function firstClearBit(bitmap: Uint8Array, from = 0): number {
  for (let byte = Math.floor(from / 8); byte < bitmap.length; byte += 1) {
    const before = byte * 8 < from ? (1 << (from - byte * 8)) - 1 : 0;
    const clear = ~((bitmap[byte] ?? 0) | before) & 0xff;
    if (clear !== 0) return byte * 8 + 31 - Math.clz32(clear & -clear);
  }
  return -1;
}

/** The lowest bit from `from` on that is set, or -1. */
export function firstSetBit(bitmap: Uint8Array, from = 0): number {
  for (let byte = Math.floor(from / 8); byte < bitmap.length; byte += 1) {
    const before = byte * 8 < from ? (1 << (from - byte * 8)) - 1 : 0;
    const set = (bitmap[byte] ?? 0) & ~before;
    if (set !== 0) return byte * 8 + 31 - Math.clz32(set & -set);
  }
  return -1;
}

/** The highest set bit below `end`, or -1. */
export function lastSetBit(bitmap: Uint8Array, end: number): number {
  for (let byte = Math.ceil(end / 8) - 1; byte >= 0; byte -= 1) {
    const beyond = byte * 8 + 8 > end ? 0xff << (end - byte * 8) : 0;
    const set = (bitmap[byte] ?? 0) & ~beyond;
    if (set !== 0) return byte * 8 + 31 - Math.clz32(set);
  }
  return -1;
}

/** How many of the lowest `end` bits are clear. */
export function countClearBits(bitmap: Uint8Array, end: number): number {
  let set = 0;
  const wholeBytes = Math.floor(end / 8);
  for (let byte = 0; byte < wholeBytes; byte += 1) set += SET_BITS[bitmap[byte] ?? 0] ?? 0;
  if (end % 8 !== 0) set += SET_BITS[(bitmap[wholeBytes] ?? 0) & (2 ** (end % 8) - 1)] ?? 0;
  return end - set;
}

/** How many bits of a byte are set. */
const SET_BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count += 1;
  return count;
});

/** Sets bits that must be clear: nothing is ever given away twice. */
export function setClearBits(bitmap: Uint8Array, from: number, count: number): void {
  const used = firstSetBit(bitmap, from);
  const end = from + count;
  invariant(from >= 0 && end <= bitmap.length * 8, 'the bits are in the bitmap');
  invariant(used === -1 || used >= end, `the bits ${from} to ${end - 1} are clear (${used} is set)`);
  setBits(bitmap, from, count);
}

/** Sets bits, whatever they were. */
export function setBits(bitmap: Uint8Array, from: number, count: number): void {
  const end = from + count;
  invariant(from >= 0 && end <= bitmap.length * 8, 'the bits are in the bitmap');
  let at = from;
  for (; at < end && at % 8 !== 0; at += 1) setBit(bitmap, at);
  const wholeBytes = Math.floor((end - at) / 8);
  bitmap.fill(0xff, at / 8, at / 8 + wholeBytes);
  for (at += wholeBytes * 8; at < end; at += 1) setBit(bitmap, at);
}

function setBit(bitmap: Uint8Array, bit: number): void {
  const byte = Math.floor(bit / 8);
  bitmap[byte] = (bitmap[byte] ?? 0) | (1 << (bit % 8));
}
