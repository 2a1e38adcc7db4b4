import type { ByteReader } from '../bytes.js';
import { invariant } from '../errors.js';
import { trace } from '../trace.js';
import { KIB, MIB } from '../units.js';
import { ForwardReader } from './forward-reader.js';
import { parseTarget, type HttpHeaders } from './http.js';
import { RangedImage } from './http-ranges.js';
import { PageCache } from './page-cache.js';
import { RangeStream, isBrokenConnection } from './range-stream.js';
import { checkRange, closedReader } from './reader-range.js';
import { Turns } from './turns.js';
import type { PullRequest } from './pull-stream.js';

const PAGE_BYTES = 64 * KIB;
const CACHE_BYTES = 2 * MIB;
/** From here on a read, or reads that continue each other, are worth an answer of their own. */
const LONG_RUN_BYTES = 256 * KIB;
/** Passing over so much costs less than a new request. */
const MAX_GAP_BYTES = 256 * KIB;
/** For the whole life of a reader. */
const MAX_RETRIES = 3;

/**
 * An image on a server that gives ranges. Small reads go through a cache of pages. A long read gets an answer of its
 * own; when the next one continues it, that answer has an open end and is read on from then on, until a long read
 * jumps elsewhere. So whoever reads a megabyte here and there does not make a server send what nobody reads.
 * Calls that overlap wait for each other: one request at a time.
 */
class HttpReader implements ByteReader {
  readonly name: string;
  readonly sizeBytes: number;
  readonly forwardOnly = false;
  readonly #image: RangedImage;
  readonly #request: PullRequest;
  readonly #closing: AbortController;
  readonly #turns = new Turns();
  readonly #cache = new PageCache(CACHE_BYTES / PAGE_BYTES);
  /** The answer with the open end. */
  #stream: RangeStream | undefined;
  /** The last reads that continued each other. */
  #runStart = 0;
  #runEnd = 0;
  #retries = 0;

  /**
   * @param closing ends all requests, with its reason
   * @param request its signal follows `closing`
   */
  constructor(name: string, image: RangedImage, request: PullRequest, closing: AbortController) {
    this.name = name;
    this.sizeBytes = image.sizeBytes;
    this.#image = image;
    this.#request = request;
    this.#closing = closing;
  }

  /** Puts the first page into the cache. */
  async prime(first: RangeStream): Promise<void> {
    const page = new Uint8Array(Math.min(PAGE_BYTES, this.sizeBytes));
    await this.#fetch(page, 0, first);
    this.#cache.put(0, page);
  }

  readInto(target: Uint8Array, offsetBytes: number): Promise<void> {
    return this.#turns.take(async () => {
      this.#request.abortSignal.throwIfAborted();
      checkRange(this.name, target, offsetBytes, target.length === 0 ? undefined : this.sizeBytes);
      if (target.length > 0) await this.#read(target, offsetBytes);
    });
  }

  async #read(target: Uint8Array, offsetBytes: number): Promise<void> {
    const endBytes = offsetBytes + target.length;
    const continues = offsetBytes === this.#runEnd && this.#runEnd > this.#runStart;
    if (!continues) this.#runStart = offsetBytes;
    this.#runEnd = endBytes;
    const isLong = endBytes - this.#runStart >= LONG_RUN_BYTES;

    if (target.length < LONG_RUN_BYTES && this.#missingPages(offsetBytes, endBytes).length === 0) {
      this.#copyPages(target, offsetBytes);
    } else if (this.#isNext(offsetBytes) || (isLong && continues)) {
      await this.#readOn(target, offsetBytes);
    } else if (isLong) {
      this.#dropStream();
      await this.#fetch(target, offsetBytes);
    } else {
      await this.#readPages(offsetBytes, endBytes);
      this.#copyPages(target, offsetBytes);
    }
  }

  #isNext(offsetBytes: number): boolean {
    const gap = offsetBytes - (this.#stream?.position ?? Number.POSITIVE_INFINITY);
    return gap >= 0 && gap <= MAX_GAP_BYTES;
  }

  #dropStream(): void {
    this.#stream?.close(closedReader(this.name));
    this.#stream = undefined;
  }

  /** Reads from the answer with the open end. */
  async #readOn(target: Uint8Array, offsetBytes: number): Promise<void> {
    if (!this.#isNext(offsetBytes)) this.#dropStream();
    const endBytes = offsetBytes + target.length;
    for (let at = offsetBytes; at < endBytes;) {
      try {
        this.#stream ??= await this.#open(at, this.sizeBytes - 1);
        await this.#stream.readInto(target.subarray(at - offsetBytes), at);
        at = endBytes;
      } catch (error) {
        at = Math.max(at, this.#stream?.position ?? 0);
        this.#dropStream();
        this.#requireRetry(error, at);
      }
    }
  }

  /**
   * Reads one range by a request for just that.
   *
   * @param opened the answer to it, if there is one already
   */
  async #fetch(target: Uint8Array, offsetBytes: number, opened?: RangeStream): Promise<void> {
    const endBytes = offsetBytes + target.length;
    let stream = opened;
    for (let at = offsetBytes; at < endBytes;) {
      try {
        stream ??= await this.#open(at, endBytes - 1);
        await stream.readInto(target.subarray(at - offsetBytes), at);
        at = endBytes;
      } catch (error) {
        at = Math.max(at, stream?.position ?? 0);
        this.#requireRetry(error, at);
      } finally {
        stream?.close(closedReader(this.name));
        stream = undefined;
      }
    }
  }

  async #open(first: number, last: number): Promise<RangeStream> {
    return new RangeStream(await this.#image.open(first, last), first, this.#request);
  }

  /** Throws the error unless it is worth asking for the rest: without a validator, that could be of another image. */
  #requireRetry(error: unknown, offsetBytes: number): void {
    const mayRetry = this.#image.hasValidator && this.#retries < MAX_RETRIES && isBrokenConnection(error);
    if (!mayRetry || this.#request.abortSignal.aborted) throw error;
    this.#retries += 1;
    trace('http', `the connection broke at ${offsetBytes}: asking again`);
  }

  /** The pages of the range that the cache does not have, as runs `[first, behind the last]`. */
  #missingPages(offsetBytes: number, endBytes: number): [number, number][] {
    const runs: [number, number][] = [];
    for (let page = Math.floor(offsetBytes / PAGE_BYTES); page * PAGE_BYTES < endBytes; page += 1) {
      const run = runs.at(-1);
      if (this.#cache.has(page)) continue;
      if (run !== undefined && run[1] === page) run[1] += 1;
      else runs.push([page, page + 1]);
    }
    return runs;
  }

  async #readPages(offsetBytes: number, endBytes: number): Promise<void> {
    // In use, so that those which come do not take their place.
    for (let page = Math.floor(offsetBytes / PAGE_BYTES); page * PAGE_BYTES < endBytes; page += 1) {
      this.#cache.get(page);
    }
    for (const [first, behind] of this.#missingPages(offsetBytes, endBytes)) {
      const start = first * PAGE_BYTES;
      const bytes = new Uint8Array(Math.min(behind * PAGE_BYTES, this.sizeBytes) - start);
      await this.#fetch(bytes, start);
      for (let page = first; page < behind; page += 1) {
        const at = (page - first) * PAGE_BYTES;
        this.#cache.put(page, bytes.slice(at, at + PAGE_BYTES));
      }
    }
  }

  /** All pages are there. */
  #copyPages(target: Uint8Array, offsetBytes: number): void {
    for (let done = 0; done < target.length;) {
      const at = offsetBytes + done;
      const page = this.#cache.get(Math.floor(at / PAGE_BYTES));
      invariant(page !== undefined, 'the pages of a read are in the cache when it is copied');
      const piece = page.subarray(at % PAGE_BYTES, (at % PAGE_BYTES) + target.length - done);
      target.set(piece, done);
      done += piece.length;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(closedReader(this.name));
    await this.#turns.over();
    this.#dropStream();
  }
}

/**
 * Opens an image by its URL. The first request asks for the first 64 KiB: a server that gives ranges answers just
 * that, any other one all of the image, which is a stream then.
 *
 * @throws PatchVdiError `usage` | `image`; the reason of the abort signal
 */
export async function openHttpReader(
  text: string,
  headers: HttpHeaders,
  { abortSignal, idleMilliseconds }: PullRequest,
): Promise<ByteReader> {
  const target = parseTarget(text, headers, 'the image');
  const closing = new AbortController();
  const request = { abortSignal: AbortSignal.any([abortSignal, closing.signal]), idleMilliseconds };
  const { body, image } = await RangedImage.first(target, request, PAGE_BYTES);
  if (image === undefined) return new ForwardReader(target.name, body, { abortSignal, idleMilliseconds });
  const reader = new HttpReader(target.name, image, request, closing);
  try {
    await reader.prime(new RangeStream(body, 0, request));
    return reader;
  } catch (error) {
    await reader.close();
    throw error;
  }
}
