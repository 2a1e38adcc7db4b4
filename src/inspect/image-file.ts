import { setImmediate } from 'node:timers/promises';
import { PatchVdiError, invariant } from '../errors.js';
import type { ExtFilesystem } from '../ext/filesystem.js';
import { fileExtents, type Extent } from '../ext/file-extents.js';
import { filePieces, type FilePiece } from '../ext/file-pieces.js';
import type { InodeFacts } from '../ext/inode-facts.js';
import { inodeOffset, type RawInode } from '../ext/inode.js';
import { GIB, MIB } from '../units.js';
import type { Image } from './image.js';

/** One read is as large as this at most: four times as fast as 64 KiB ones from a file (measured for uploads). */
const CHUNK_BYTES = MIB;

/** Pieces are read together when that reads at most so many times what is wanted. */
const MAX_SPAN_FACTOR = 2;

/** A file larger than the disk is read as long as it is not larger than this. */
const MAX_SPARSE_BYTES = GIB;

/** After so many chunks others get their turn, whether there was something to wait for or not. */
const CHUNKS_PER_PAUSE = 64;

const ZEROS = new Uint8Array(CHUNK_BYTES);

/** Some bytes of a file, in order. */
export interface FileChunk {
  readonly fileOffset: number;
  /** Valid until the next chunk is asked for. */
  readonly bytes: Uint8Array;
  /** Known to be zeros without reading: a hole, an unwritten extent, or behind the last block. */
  readonly zeros: boolean;
}

/** A regular file in the file system of an image. */
export class ImageFile {
  /** From the root folder, with a leading slash. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Permission bits, as in 0o755. */
  readonly mode: number;
  /** To the millisecond; `facts.mtime` has the nanoseconds. */
  readonly mtime: Date;
  /** All that the inode says. */
  readonly facts: InodeFacts;
  readonly #image: Image;
  readonly #ext: ExtFilesystem;
  readonly #raw: RawInode;

  /** @internal */
  constructor(image: Image, ext: ExtFilesystem, path: string, raw: RawInode, facts: InodeFacts) {
    this.#image = image;
    this.#ext = ext;
    this.#raw = raw;
    this.path = path;
    this.facts = facts;
    this.size = facts.sizeBytes;
    this.mode = facts.mode;
    this.mtime = new Date(facts.mtime.seconds * 1000 + Math.floor(facts.mtime.nanoseconds / 1e6));
  }

  /**
   * The content from the first byte to the last, in buffers of up to 1 MiB that are the receiver's. Read while it is
   * taken, never ahead by more than one.
   *
   * @throws PatchVdiError `image` when a part of it cannot be read; and for a file that is larger than its file system
   *   and 1 GiB, nearly all of which must be holes
   */
  async *stream(): AsyncGenerator<Uint8Array> {
    for await (const { bytes } of this.chunks()) yield new Uint8Array(bytes);
  }

  /** The runs of blocks that hold the content, in file order. Block numbers count from the start of the file system. */
  extents(): AsyncGenerator<Extent> {
    return fileExtents(this.#ext, this.facts.inodeNumber, this.#raw);
  }

  /** Where the content lies, without a gap: on the disk, in the inode, or nowhere because it is zeros. */
  pieces(): AsyncGenerator<FilePiece> {
    return filePieces(this.#ext, this.facts.inodeNumber, this.#raw);
  }

  /**
   * The content in order, in buffers that are used again: two of them, so that the next one is filled while one is
   * looked at.
   *
   * @internal
   */
  async *chunks(): AsyncGenerator<FileChunk> {
    this.#requirePlausible();
    const buffers = [new Uint8Array(CHUNK_BYTES), new Uint8Array(CHUNK_BYTES)];
    let turn = 0;
    let reading: Promise<FileChunk> | undefined;
    try {
      for await (const places of together(this.#places())) {
        const buffer = buffers[turn % buffers.length] ?? ZEROS;
        turn += 1;
        const next = this.#readChunk(places, buffer);
        // It may fail while the receiver still looks at the one before: whoever awaits it then is told.
        next.catch(() => undefined);
        if (this.#image.forwardOnly) await next;
        // Zeros need no read, and without one no signal comes through: 16 TiB of them could not be interrupted.
        if (turn % CHUNKS_PER_PAUSE === 0) await setImmediate();
        const before = reading;
        reading = next;
        if (before !== undefined) yield await before;
      }
      if (reading !== undefined) yield await reading;
    } finally {
      // Whoever stops early must not leave a read behind that fills a buffer, or fails, when nobody looks.
      await reading?.catch(() => undefined);
    }
  }

  /** A few bytes of map can claim 2^32 blocks of zeros: copying or hashing those would take days. */
  #requirePlausible(): void {
    const { blockCount, blockBytes } = this.#ext.superblock;
    const limit = Math.max(
      MAX_SPARSE_BYTES,
      Math.min(blockCount * blockBytes, this.#image.virtualSize ?? Infinity),
    );
    if (this.size <= limit) return;
    throw new PatchVdiError('image', 'the file is far larger than its file system', {
      context: {
        operation: `read ${this.path}`,
        path: this.#image.name,
        offset: this.#image.offsetBytes + inodeOffset(this.#ext, this.facts.inodeNumber),
        found: `a file of ${this.size} bytes, most of them in holes`,
        expected: `at most ${limit} bytes`,
      },
    });
  }

  /** @param places one; or several with data, in the order of the disk, that one buffer holds with all between them */
  async #readChunk(places: readonly FilePiece[], buffer: Uint8Array): Promise<FileChunk> {
    const [first] = places;
    invariant(first !== undefined, 'there is something to read');
    const { fileOffset, length, diskOffset, inline } = first;
    if (inline !== undefined) return { fileOffset, bytes: inline.subarray(0, length), zeros: false };
    if (diskOffset === undefined) return { fileOffset, bytes: ZEROS.subarray(0, length), zeros: true };
    const bytes = buffer.subarray(0, bytesOf(places));
    if (places.length === 1) await this.#readDisk(bytes, diskOffset);
    else await this.#readTogether(places, buffer);
    return { fileOffset, bytes, zeros: false };
  }

  #readDisk(target: Uint8Array, diskOffset: number): Promise<void> {
    return this.#image.readInto(target, this.#image.offsetBytes + diskOffset);
  }

  /** One read for all, from the first to the last; then what is between them is closed up. */
  async #readTogether(places: readonly FilePiece[], buffer: Uint8Array): Promise<void> {
    const start = startOf(places[0]);
    try {
      await this.#readDisk(buffer.subarray(0, endOf(places.at(-1)) - start), start);
      let done = 0;
      for (const place of places) {
        const from = startOf(place) - start;
        buffer.copyWithin(done, from, from + place.length);
        done += place.length;
      }
    } catch {
      // What is between them may be what cannot be read: each for itself says it.
      let done = 0;
      for (const place of places) {
        await this.#readDisk(buffer.subarray(done, done + place.length), startOf(place));
        done += place.length;
      }
    }
  }

  /** The pieces cut to the size of a buffer. */
  async *#places(): AsyncGenerator<FilePiece> {
    for await (const piece of this.pieces()) {
      for (let at = 0; at < piece.length; at += CHUNK_BYTES) {
        yield {
          ...piece,
          fileOffset: piece.fileOffset + at,
          length: Math.min(CHUNK_BYTES, piece.length - at),
          diskOffset: piece.diskOffset === undefined ? undefined : piece.diskOffset + at,
          ...(piece.inline === undefined ? {} : { inline: piece.inline.subarray(at) }),
        };
      }
    }
  }
}

const startOf = (place: FilePiece | undefined): number => place?.diskOffset ?? 0;
const endOf = (place: FilePiece | undefined): number => startOf(place) + (place?.length ?? 0);

function bytesOf(places: readonly FilePiece[]): number {
  return places.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Groups of pieces that are read at once: those that follow each other on the disk, with no more between them than
 * they have themselves. A file in single blocks would else be read block by block.
 */
async function* together(places: AsyncIterable<FilePiece>): AsyncGenerator<readonly FilePiece[]> {
  let group: FilePiece[] = [];
  let bytes = 0;
  for await (const place of places) {
    const span = endOf(place) - startOf(group[0]);
    const fits =
      place.diskOffset !== undefined &&
      place.diskOffset >= endOf(group.at(-1)) &&
      span <= CHUNK_BYTES &&
      span <= MAX_SPAN_FACTOR * (bytes + place.length);
    if (group.length > 0 && !fits) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(place);
    bytes += place.length;
    // Zeros, and what stands in the inode, are nothing to read.
    if (place.diskOffset !== undefined && place.length < CHUNK_BYTES) continue;
    yield group;
    [group, bytes] = [[], 0];
  }
  if (group.length > 0) yield group;
}
