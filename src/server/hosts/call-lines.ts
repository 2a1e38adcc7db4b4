import { PatchVdiError } from '../../errors.js';
import { KIB } from '../../units.js';
import { ALIVE_MILLISECONDS, MAX_ANSWER_BYTES } from './internal-call.js';

/*
 * The body of an answer: lines of JSON. Empty ones say that the call goes on; `{"progress": …}` how far it is; the last
 * one is its outcome, and the only one without a line feed behind it.
 */

/** Steps that wait to be sent; of more the oldest are dropped. */
const MAX_WAITING = 64;
const MAX_PROGRESS_BYTES = 16 * KIB;
/** Of one call; nobody looks at more. */
const MAX_LINES = 1_000_000;
const LINE_FEED = 0x0a;

/** The lines of a call that is being done. */
export class AnswerLines {
  readonly #waiting: string[] = [];
  #wake: (() => void) | undefined;
  #done: unknown;

  readonly progress = (value: unknown): void => {
    this.#waiting.push(JSON.stringify({ progress: value }));
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    this.#wake?.();
  };

  /** @param outcome never rejects */
  async *bytes(outcome: Promise<unknown>): AsyncGenerator<Uint8Array> {
    let isDone = false;
    void outcome.then((value) => {
      this.#done = value;
      isDone = true;
      this.#wake?.();
    });
    for (;;) {
      for (const line of this.#waiting.splice(0)) yield Buffer.from(`${line}\n`);
      if (isDone) break;
      const isAlive = await this.#pause(() => isDone || this.#waiting.length > 0);
      if (isAlive) yield Buffer.from('\n');
    }
    yield Buffer.from(JSON.stringify(this.#done));
  }

  /** @returns true when nothing has happened for so long that something must be said */
  #pause(hasHappened: () => boolean): Promise<boolean> {
    if (hasHappened()) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(!hasHappened()), ALIVE_MILLISECONDS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }
}

/**
 * The last line of an answer; all others are told as they come. Memory is bounded by the longest line that is allowed.
 *
 * @param onLine a line that is not empty, without its end; at most 16 KiB
 * @throws PatchVdiError `sink` for what is too long
 */
export async function readLines(
  chunks: AsyncIterable<Uint8Array>,
  onLine: (line: string) => void,
): Promise<string> {
  let line: Uint8Array[] = [];
  let bytes = 0;
  let count = 0;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length;) {
      const at = chunk.indexOf(LINE_FEED, from);
      const end = at === -1 ? chunk.length : at;
      bytes += end - from;
      if (bytes > (at === -1 ? MAX_ANSWER_BYTES : MAX_PROGRESS_BYTES)) throw tooLong();
      if (end > from) line.push(chunk.subarray(from, end));
      from = end + 1;
      if (at === -1) continue;
      count += 1;
      if (count > MAX_LINES) throw tooLong();
      if (bytes > 0) onLine(Buffer.concat(line).toString());
      line = [];
      bytes = 0;
    }
  }
  return Buffer.concat(line).toString();
}

function tooLong(): PatchVdiError {
  return new PatchVdiError('sink', "the host's answer is too long", {
    context: { expected: `at most ${MAX_ANSWER_BYTES} bytes` },
  });
}
