import type { IncomingMessage } from 'node:http';
import { KIB } from '../units.js';

/** What may have come and not been taken; then the connection is not read. */
const MAX_QUEUED_BYTES = 512 * KIB;
/** What a read of a plain connection brings at most; with TLS a record has a quarter of it. */
const READ_BYTES = 64 * KIB;

/** Takes the next chunk from the queue; small ones together: the steps after this one cost the same for each. */
function takeFrom(queue: Buffer[]): Buffer | undefined {
  let bytes = 0;
  let count = 0;
  while (count < queue.length && bytes + (queue[count]?.length ?? 0) <= READ_BYTES) {
    bytes += queue[count]?.length ?? 0;
    count += 1;
  }
  return count < 2 ? queue.shift() : Buffer.concat(queue.splice(0, count), bytes);
}

/**
 * The body of a request, chunk by chunk as the connection brings it: the stream's own iterator puts what has come
 * into one buffer, which is a second copy of everything. The connection stays open whatever becomes of the iterator: an
 * answer is to go over it.
 *
 * @throws the reason of the signal, at once; the error of a connection that breaks off
 */
export async function* chunksOf(request: IncomingMessage, signal: AbortSignal): AsyncGenerator<Buffer> {
  const queue: Buffer[] = [];
  let queuedBytes = 0;
  let end: { readonly error?: Error } | undefined;
  let wake: (() => void) | undefined;
  let waking: NodeJS.Immediate | undefined;
  const onData = (chunk: Buffer): void => {
    queue.push(chunk);
    queuedBytes += chunk.length;
    if (queuedBytes >= MAX_QUEUED_BYTES) request.pause();
    if (queuedBytes >= READ_BYTES) wake?.();
    // More records of the same read may follow.
    else waking ??= setImmediate(onImmediate);
  };
  const onImmediate = (): void => {
    waking = undefined;
    wake?.();
  };
  const finish = (ending: { readonly error?: Error }): void => {
    end ??= ending;
    wake?.();
  };
  const onEnd = (): void => finish({});
  const onError = (error: Error): void => finish({ error });
  const onClose = (): void =>
    finish({ error: new Error('the connection was closed before the end of the body') });
  const onAbort = (): void => finish({ error: signal.reason as Error });
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort);
  request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  try {
    for (;;) {
      const chunk = takeFrom(queue);
      if (chunk !== undefined) {
        queuedBytes -= chunk.length;
        if (queuedBytes < MAX_QUEUED_BYTES / 2 && request.isPaused()) request.resume();
        yield chunk;
      } else if (end !== undefined) {
        if (end.error !== undefined) throw end.error;
        return;
      } else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    clearImmediate(waking);
    signal.removeEventListener('abort', onAbort);
    request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    if (end === undefined) request.pause();
  }
}
