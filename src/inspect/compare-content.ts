import { PatchVdiError } from '../errors.js';
import { printable } from '../ext/corrupt.js';
import { GIB } from '../units.js';
import type { Differences } from './differences.js';
import { abortable } from './extract.js';
import type { FileChunk, ImageFile } from './image-file.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';

/** Holes may make files larger than their file system, by as much. */
const MAX_SPARSE_BYTES = GIB;

/** The first place at which two contents differ, or undefined. Lengths are compared by the caller. */
export async function firstDifference(
  a: AsyncIterable<FileChunk>,
  b: AsyncIterable<FileChunk>,
): Promise<number | undefined> {
  const [one, other] = [a[Symbol.asyncIterator](), b[Symbol.asyncIterator]()];
  try {
    let position = 0;
    let left: Rest = NOTHING;
    let right: Rest = NOTHING;
    for (;;) {
      if (left.bytes.length === 0) left = await nextChunk(one);
      if (right.bytes.length === 0) right = await nextChunk(other);
      const length = Math.min(left.bytes.length, right.bytes.length);
      if (length === 0) return left.bytes.length === right.bytes.length ? undefined : position;
      const [x, y] = [left.bytes.subarray(0, length), right.bytes.subarray(0, length)];
      // A hole may be as long as 16 TiB, and costs nobody anything but us.
      const isHole = left.zeros && right.zeros;
      if (!isHole && Buffer.compare(x, y) !== 0) {
        return position + x.findIndex((byte, index) => byte !== y[index]);
      }
      position += length;
      left = { bytes: left.bytes.subarray(length), zeros: left.zeros };
      right = { bytes: right.bytes.subarray(length), zeros: right.zeros };
    }
  } finally {
    await one.return?.();
    await other.return?.();
  }
}

/** What is left of a chunk. */
type Rest = Pick<FileChunk, 'bytes' | 'zeros'>;

const NOTHING: Rest = { bytes: new Uint8Array(0), zeros: false };

async function nextChunk(chunks: AsyncIterator<FileChunk>): Promise<Rest> {
  for (;;) {
    const { done, value } = await chunks.next();
    if (done === true) return NOTHING;
    if (value.bytes.length > 0) return value;
  }
}

/** Whether two files have the same bytes; the first place where they differ goes to `into`. */
export async function compareFiles(
  path: string,
  a: ImageFile,
  b: ImageFile,
  into: Differences,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  into.check('content', `${path}, size`, a.size, b.size);
  const at = await firstDifference(abortable(a.chunks(), signal), abortable(b.chunks(), signal));
  if (at === undefined) return true;
  if (at < Math.min(a.size, b.size)) {
    into.add({ class: 'content', what: path, a: `differs from byte ${at} on`, b: 'other bytes' });
  }
  return false;
}

/** What files may hold in all: each of thousands could claim all of the disk, or holes of terabytes. */
export class ContentBudget {
  readonly #limitBytes: number;
  readonly #name: string;
  readonly #met = new Set<number>();
  #bytes = 0;

  constructor(image: Image, { superblock }: ImageFilesystem) {
    this.#name = image.name;
    const diskBytes = image.virtualSize ?? Number.MAX_SAFE_INTEGER;
    this.#limitBytes = MAX_SPARSE_BYTES + Math.min(superblock.blockCount * superblock.blockBytes, diskBytes);
  }

  /** A file with several names counts once. @throws PatchVdiError `image` beyond the limit */
  add({ facts, size, path }: ImageFile): void {
    if (this.#met.has(facts.inodeNumber)) return;
    this.#met.add(facts.inodeNumber);
    this.#bytes += size;
    if (this.#bytes <= this.#limitBytes) return;
    throw new PatchVdiError('image', 'the files are far larger than their file system', {
      context: {
        operation: 'compare the files',
        path: this.#name,
        found: `${this.#bytes} bytes in the files up to ${printable(path)}`,
        expected: `at most ${this.#limitBytes} bytes`,
      },
    });
  }
}
