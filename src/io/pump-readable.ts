import type { Readable } from 'node:stream';
import type { ChunkReceiver } from './chunk.js';

/** Chunks that may be on their way at the same time; more would only be memory. */
const MAX_CHUNKS_UNDER_WAY = 16;

/**
 * Hands out what a Node stream brings, chunk by chunk as it comes, without copying: whoever fills the stream must not
 * use a buffer twice. The stream stands still while the receiver wants a pause or has not released enough.
 *
 * The stream is destroyed in the end, whatever the end is.
 *
 * @param explain makes the error of a stream that fails or is closed before its end
 * @throws that error; what the receiver throws; the reason of `abortSignal`, at once
 */
export function pumpReadable(
  stream: Readable,
  receive: ChunkReceiver,
  abortSignal: AbortSignal,
  explain: (cause: Error) => Error,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let underWay = 0;
    let waitingForReceiver = false;
    let ended = false;
    let stopped = false;

    const stop = (settle: () => void): void => {
      if (stopped) return;
      stopped = true;
      abortSignal.removeEventListener('abort', onAbort);
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      // The error listener stays: what a destroyed stream still complains about is no news.
      stream.destroy();
      settle();
    };
    const fail = (error: unknown): void => stop(() => reject(error as Error));
    const onAbort = (): void => fail(abortSignal.reason);
    const goOn = (): void => {
      if (stopped || waitingForReceiver) return;
      if (ended) stop(resolve);
      else if (underWay < MAX_CHUNKS_UNDER_WAY) stream.resume();
    };
    const release = (): void => {
      underWay -= 1;
      goOn();
    };
    const onData = (bytes: Uint8Array): void => {
      if (bytes.length === 0) return;
      underWay += 1;
      try {
        const wait = receive({ bytes, release });
        if (wait !== undefined) {
          waitingForReceiver = true;
          wait.then(() => {
            waitingForReceiver = false;
            goOn();
          }, fail);
        }
      } catch (error) {
        fail(error);
        return;
      }
      if (waitingForReceiver || underWay >= MAX_CHUNKS_UNDER_WAY) stream.pause();
    };
    const onEnd = (): void => {
      ended = true;
      goOn();
    };
    const onClose = (): void => {
      if (!ended) fail(explain(new Error('closed before its end')));
    };

    stream.on('error', (cause) => fail(explain(cause)));
    if (abortSignal.aborted) onAbort();
    else if (stream.destroyed) onClose();
    else {
      abortSignal.addEventListener('abort', onAbort);
      stream.on('end', onEnd).on('close', onClose).on('data', onData);
    }
  });
}
