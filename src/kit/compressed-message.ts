import { stat } from 'node:fs/promises';
import { TAG } from '../signature/packet-tags.js';
import { concatBytes, octets, packetHeader } from './packets.js';
import type { Upload, UploadBench } from './uploads.js';

/** RFC 4880 §9.3: raw deflate. */
const ZIP = 1;

/** The largest block that is not compressed (RFC 1951 §3.2.4). */
const STORED_BYTES = 0xffff;
const STORED_HEADER_BYTES = 5;

/** The header of a stored block (RFC 1951 §3.2.3, §3.2.4): three bits, then the length, little-endian, and its inverse. */
function storedHeader(length: number, isLast: boolean): Uint8Array {
  const low = length % 256;
  const high = Math.floor(length / 256);
  return octets(isLast ? 1 : 0, low, high, 255 - low, 255 - high);
}

/** Cuts a stream into pieces of exactly that length, but for the last one. */
async function* inPieces(chunks: AsyncIterable<Uint8Array>, pieceBytes: number): AsyncGenerator<Uint8Array> {
  let kept = new Uint8Array(0);
  for await (const chunk of chunks) {
    kept = kept.length === 0 ? new Uint8Array(chunk) : new Uint8Array(concatBytes(kept, chunk));
    for (; kept.length > pieceBytes; kept = kept.subarray(pieceBytes)) yield kept.subarray(0, pieceBytes);
  }
  yield kept;
}

/**
 * A signed message in a Compressed Data packet (RFC 4880 §5.6). Nothing is really compressed: deflate's stored blocks
 * are the same bytes with every version of zlib.
 */
export async function compressed(bench: UploadBench): Promise<Upload> {
  const message = await bench.signed();
  const { size } = await stat(message.path);
  const blocks = Math.ceil(size / STORED_BYTES);
  const bodyBytes = 1 + size + blocks * STORED_HEADER_BYTES;
  return await bench.changed(message, async function* (chunks) {
    yield concatBytes(packetHeader(TAG.compressedData, bodyBytes), octets(ZIP));
    let left = size;
    for await (const piece of inPieces(chunks, STORED_BYTES)) {
      left -= piece.length;
      yield concatBytes(storedHeader(piece.length, left === 0), piece);
    }
  });
}
