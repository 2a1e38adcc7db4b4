import { PatchVdiError } from '../errors.js';
import { EXT_MAGIC, superBlock } from '../ext/layout.js';
import type { ImageRange } from '../plan/image-map.js';
import { viewOf } from '../struct.js';
import { KIB } from '../units.js';

/*
 * Without our superblock nothing opens the image by itself, except e2fsck (without -b) when it finds a backup: it
 * looks at one place for each block size, and takes what is there if magic and block size fit (e2fsprogs,
 * e2fsck/util.c, get_backup_sb). These places lie within the payload, which is not verified when it is written; so a
 * payload that has something there that e2fsck would take is refused before it is written. By chance that happens
 * once in 2^48 uploads.
 */
const BLOCK_SIZES_BYTES = [1, 2, 4, 8, 16, 32, 64].map((kibibytes) => kibibytes * KIB);

/** The first block of group 1, for the default of as many blocks a group as a bitmap block has bits. */
function backupOffset(blockBytes: number): number {
  const firstDataBlock = blockBytes === KIB ? 1 : 0;
  return (8 * blockBytes + firstDataBlock) * blockBytes;
}

interface Place {
  readonly payloadOffset: number;
  readonly blockBytes: number;
  readonly seen: Uint8Array;
}

const MAGIC_OFFSET = superBlock.rows.s_magic[0];
const LOG_BLOCK_SIZE_OFFSET = superBlock.rows.s_log_block_size[0];
/** As much of a superblock as decides. */
const LOOK_BYTES = MAGIC_OFFSET + 2;

/** Looks at the payload on its way to an image that is not sealed yet. */
export class DecoyWatch {
  readonly #places: readonly Place[];
  #next = 0;

  /** @param payload where it goes in the image, in the order in which it arrives */
  constructor(payload: readonly ImageRange[]) {
    const places: Place[] = [];
    for (const blockBytes of BLOCK_SIZES_BYTES) {
      const at = backupOffset(blockBytes);
      const range = payload.find(({ offset, length }) => offset <= at && at < offset + length);
      if (range?.payloadOffset === undefined) continue;
      const payloadOffset = range.payloadOffset + (at - range.offset);
      places.push({ payloadOffset, blockBytes, seen: new Uint8Array(LOOK_BYTES) });
    }
    this.#places = places.sort((a, b) => a.payloadOffset - b.payloadOffset);
  }

  /**
   * @param bytes the next bytes of the payload; only looked at
   * @param payloadOffset where they stand in it
   * @throws PatchVdiError `upload`
   */
  look(bytes: Uint8Array, payloadOffset: number): void {
    const end = payloadOffset + bytes.length;
    for (let place = this.#places[this.#next]; place !== undefined; place = this.#places[this.#next]) {
      if (end <= place.payloadOffset) return;
      const from = Math.max(payloadOffset, place.payloadOffset);
      const to = Math.min(end, place.payloadOffset + LOOK_BYTES);
      if (from < to) {
        place.seen.set(bytes.subarray(from - payloadOffset, to - payloadOffset), from - place.payloadOffset);
      }
      // The rest of this place comes with the next bytes.
      if (end < place.payloadOffset + LOOK_BYTES) return;
      this.#next += 1;
      refuseDecoy(place);
    }
  }
}

function refuseDecoy({ seen, blockBytes, payloadOffset }: Place): void {
  const view = viewOf(seen);
  const isDecoy =
    view.getUint16(MAGIC_OFFSET, true) === EXT_MAGIC &&
    KIB * 2 ** view.getUint32(LOG_BLOCK_SIZE_OFFSET, true) === blockBytes;
  if (!isDecoy) return;
  throw new PatchVdiError('upload', 'the upload imitates a file system', {
    context: {
      operation: 'write the payload',
      offset: payloadOffset,
      found: `what e2fsck takes for a backup superblock with blocks of ${blockBytes} bytes`,
      expected: 'no such thing where e2fsck looks for it: it would open an image that is not sealed',
    },
    hint: 'if the upload is genuine: --format raw to a pipe verifies it before anything is written',
  });
}
