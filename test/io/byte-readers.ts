import { onTestFinished } from 'vitest';
import type { ByteReader } from '../../src/bytes.js';
import { openReader, type ReaderPlace, type ReaderRequest } from '../../src/io/open-reader.js';

/** A reader that is closed when the running test ends. */
export async function opened(place: ReaderPlace, request?: ReaderRequest): Promise<ByteReader> {
  const reader = await openReader(place, request);
  onTestFinished(() => reader.close());
  return reader;
}

/** Those bytes, read in one call; what the reader does not fill shows as 0xee. */
export async function bytesAt(reader: ByteReader, offset: number, length: number): Promise<Buffer> {
  const target = Buffer.alloc(length, 0xee);
  await reader.readInto(target, offset);
  return target;
}

/** All bytes, in pieces of that size. */
export async function* allBytes(
  reader: ByteReader,
  sizeBytes: number,
  pieceBytes: number,
): AsyncGenerator<Buffer> {
  for (let at = 0; at < sizeBytes; at += pieceBytes) {
    yield await bytesAt(reader, at, Math.min(pieceBytes, sizeBytes - at));
  }
}

/** Pieces of that size all over a resource, none of them beside another; the same ones each time. */
export function scattered(count: number, pieceBytes: number, sizeBytes: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    const place = (index * 0x9e3779b1) % 0x1_0000_0000;
    return Math.floor((place / 0x1_0000_0000) * (sizeBytes - pieceBytes));
  });
}
