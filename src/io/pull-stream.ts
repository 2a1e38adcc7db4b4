import { PatchVdiError } from '../errors.js';
import type { Chunk, UploadSource } from './chunk.js';
import { StallClock, describeSilence } from './idle-timeout.js';

export interface PullRequest {
  readonly abortSignal: AbortSignal;
  /** How long the source may be silent while somebody waits for it; undefined: for ever. */
  readonly idleMilliseconds: number | undefined;
}

/**
 * The bytes of a source when somebody asks for them. It reads ahead as far as the source has buffers; then the
 * source stands still.
 */
export class PullStream {
  readonly #source: UploadSource;
  readonly #idleMilliseconds: number | undefined;
  readonly #abortSignal: AbortSignal;
  readonly #stop = new AbortController();
  readonly #chunks: Chunk[] = [];
  #started = false;
  #taken = 0;
  #position = 0;
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** The source becomes the stream's own. */
  constructor(source: UploadSource, { abortSignal, idleMilliseconds }: PullRequest) {
    this.#source = source;
    this.#idleMilliseconds = idleMilliseconds;
    this.#abortSignal = abortSignal;
  }

  /**
   * The bytes that are next, at least one; undefined at the end. They are valid until they are taken. One call at a
   * time.
   *
   * @throws what the source throws, after the bytes that came before; PatchVdiError `image` when nothing comes; the
   *   reason of the abort signal, or of `close`
   */
  async peek(): Promise<Uint8Array | undefined> {
    this.#abortSignal.throwIfAborted();
    this.#stop.signal.throwIfAborted();
    if (!this.#started) {
      this.#started = true;
      void this.#pump();
    }
    if (this.#chunks.length === 0 && this.#end === undefined) await this.#more();
    const chunk = this.#chunks[0];
    if (chunk !== undefined) return chunk.bytes.subarray(this.#taken);
    if (this.#end !== undefined && 'error' in this.#end) throw this.#end.error;
    return undefined;
  }

  /** So many bytes of those that `peek` gave are done with. */
  take(count: number): void {
    const chunk = this.#chunks[0];
    this.#taken += count;
    this.#position += count;
    if (chunk === undefined || this.#taken < chunk.bytes.length) return;
    this.#taken = 0;
    this.#chunks.shift();
    chunk.release();
  }

  /** How many bytes were taken. */
  get position(): number {
    return this.#position;
  }

  async #pump(): Promise<void> {
    const receive = (chunk: Chunk): void => {
      if (chunk.bytes.length === 0) chunk.release();
      else this.#chunks.push(chunk);
      this.#wake?.();
    };
    try {
      await this.#source.pump(receive, AbortSignal.any([this.#abortSignal, this.#stop.signal]));
      this.#end ??= {};
    } catch (error) {
      this.#end ??= { error };
    }
    this.#wake?.();
  }

  /** Until there is a chunk, or the end. */
  async #more(): Promise<void> {
    const idle = this.#idleMilliseconds;
    const clock =
      idle === undefined ? undefined : new StallClock(idle, () => this.close(this.#stalled(idle)));
    clock?.start();
    try {
      while (this.#chunks.length === 0 && this.#end === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#wake = undefined;
      clock?.dispose();
    }
  }

  #stalled(idle: number): PatchVdiError {
    return new PatchVdiError('image', 'the image does not go on', {
      context: {
        path: this.#source.name,
        offset: this.#position,
        found: describeSilence(idle),
        expected: 'the next bytes, or the end',
      },
      hint: 'look at the program that sends it; --idle-timeout says how long to wait',
    });
  }

  /** Frees what the source holds; a call that waits for bytes gets `reason`. */
  close(reason: Error): void {
    this.#stop.abort(reason);
    this.#source.close();
  }
}
