import type { ByteReader } from '../../bytes.js';
import type { DiskBytes } from '../../pool/storage.js';
import { KIB } from '../../units.js';
import type { DiskPart } from './disk-stream.js';

/** What is asked for at least: looking around in a file system is many small reads. */
const LOOK_BYTES = 256 * KIB;

/** What a disk of another host holds in a part of it. */
export type ReadPart = (part: DiskPart) => AsyncGenerator<DiskBytes>;

/** A part that is on its way; read from front to back. */
class PartReader {
  readonly end: number;
  at: number;
  readonly #runs: AsyncGenerator<DiskBytes>;
  #run: DiskBytes | undefined;

  constructor(runs: AsyncGenerator<DiskBytes>, { start, end }: DiskPart) {
    this.#runs = runs;
    this.at = start;
    this.end = end;
  }

  /** Fills `target` from {@link at} on, which must lie inside. */
  async readInto(target: Uint8Array): Promise<void> {
    const start = this.at;
    const end = start + target.length;
    target.fill(0);
    this.at = end;
    for (;;) {
      this.#run ??= await this.#next();
      const run = this.#run;
      if (run === undefined || run.offset >= end) break;
      const from = Math.max(start, run.offset);
      const to = Math.min(end, run.offset + run.bytes.length);
      if (to > from) target.set(run.bytes.subarray(from - run.offset, to - run.offset), from - start);
      if (run.offset + run.bytes.length > end) break;
      this.#run = undefined;
    }
    // What comes behind the last byte says that all was there.
    if (end === this.end && this.#run === undefined) await this.#next();
  }

  /** Whether reading on from there costs less than asking anew: what lies between is little, or zeros. */
  async isNear(offset: number, end: number): Promise<boolean> {
    if (offset < this.at || end > this.end) return false;
    if (offset - this.at <= LOOK_BYTES) return true;
    this.#run ??= await this.#next();
    return this.#run === undefined || this.#run.offset + LOOK_BYTES >= offset;
  }

  async #next(): Promise<DiskBytes | undefined> {
    const next = await this.#runs.next();
    return next.done === true ? undefined : next.value;
  }

  async close(): Promise<void> {
    await this.#runs.return(undefined);
  }
}

/**
 * The disk of another host as bytes at any place. Whoever reads on where he left off gets one stream to the end of the
 * disk; whoever looks around gets a small part each time. Zeros do not travel.
 */
export class RemoteDisk implements ByteReader {
  readonly name: string;
  readonly sizeBytes: number;
  readonly forwardOnly = false;
  readonly #readPart: ReadPart;
  #part: PartReader | undefined;
  #last: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** @param name for messages */
  constructor(name: string, sizeBytes: number, readPart: ReadPart) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.#readPart = readPart;
  }

  readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    // One after the other: a stream has one place.
    const read = this.#last.then(() => this.#read(target, offsetBytes));
    this.#last = read.catch(() => undefined);
    return read;
  }

  async #read(target: Uint8Array, offset: number): Promise<void> {
    if (this.#isClosed) throw new Error('a disk is read after it was closed');
    const end = offset + target.length;
    let part = this.#part;
    if (part === undefined || !(await part.isNear(offset, end))) {
      const goesOn = part?.at === offset;
      await this.#leave();
      const upTo = goesOn ? this.sizeBytes : Math.min(this.sizeBytes, offset + LOOK_BYTES);
      const range = { start: offset, end: Math.max(end, upTo) };
      part = this.#part = new PartReader(this.#readPart(range), range);
    }
    part.at = offset;
    try {
      await part.readInto(target);
    } catch (error) {
      await this.#leave();
      throw error;
    }
  }

  async #leave(): Promise<void> {
    const part = this.#part;
    this.#part = undefined;
    await part?.close();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
    await this.#leave();
  }
}
