import { closeSync } from 'node:fs';
import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { PatchVdiError, invariant } from '../errors.js';
import { KIB } from '../units.js';
import { BufferPool, type ChunkReceiver, type UploadSource } from './chunk.js';

/*
 * Why 64 KiB, why `onread`, why not gather (design, "Speed"): a pipe holds 64 KiB, and while a reader fills a larger
 * buffer the writer waits (twice the time, measured). `onread` leaves the event loop free between chunks and no
 * thread blocked in read(2), so Ctrl-C ends at once however silent the source is.
 */
const CHUNK_BYTES = 64 * KIB;
/** Two would do for a file; sixteen let gpgv lag behind the writer without stopping it. */
const BUFFER_COUNT = 16;

/** The error of an upload whose pipe or socket fails. */
function uploadBrokeOff(name: string, cause: Error): PatchVdiError {
  return new PatchVdiError('upload', 'the upload broke off', {
    context: { operation: 'read the upload', path: name, found: cause.message },
    cause,
  });
}

/**
 * An upload that comes through a pipe or socket.
 *
 * @param fd becomes the source's own: it is made non-blocking, and closed in the end
 * @param brokeOff makes the error of a pipe that fails
 */
export class PipeSource implements UploadSource {
  readonly name: string;
  readonly contentLength: number | undefined;
  readonly #fd: number;
  readonly #brokeOff: typeof uploadBrokeOff;
  #socket: Socket | undefined;
  #closed = false;

  constructor(name: string, fd: number, contentLength: number | undefined, brokeOff = uploadBrokeOff) {
    this.name = name;
    this.contentLength = contentLength;
    this.#fd = fd;
    this.#brokeOff = brokeOff;
  }

  pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
    const pool = new BufferPool(BUFFER_COUNT, CHUNK_BYTES);
    return new Promise<void>((resolve, reject) => {
      let waitingForReceiver = false;
      let stopped = false;

      const stop = (settle: () => void): void => {
        if (stopped) return;
        stopped = true;
        pool.onGive(undefined);
        abortSignal.removeEventListener('abort', onAbort);
        socket.destroy();
        settle();
      };
      const onAbort = (): void => stop(() => reject(abortSignal.reason as Error));
      const mayRead = (): boolean => !waitingForReceiver && pool.freeCount > 0;
      const resumeIfPossible = (): void => {
        if (!stopped && mayRead()) socket.resume();
      };

      /** Returns whether to go on reading; false stops the socket until resume(). */
      const onChunk = (byteCount: number, buffer: Buffer): boolean => {
        if (stopped) return false;
        try {
          const wait = receive({ bytes: buffer.subarray(0, byteCount), release: () => pool.give(buffer) });
          if (wait !== undefined) {
            waitingForReceiver = true;
            wait.then(
              () => {
                waitingForReceiver = false;
                resumeIfPossible();
              },
              (error: unknown) => stop(() => reject(error as Error)),
            );
          }
        } catch (error) {
          stop(() => reject(error as Error));
          return false;
        }
        // Node asks buffer() for one more right after this call, even when it returns false: keep one for that.
        return mayRead() && pool.freeCount > 1;
      };

      const nextBuffer = (): Buffer => {
        const buffer = pool.take();
        invariant(buffer !== undefined, 'a free buffer is left for the next read');
        return buffer;
      };

      // `onread` works for every socket, but @types/node knows it only for connect().
      const options: SocketConstructorOpts & { onread: OnReadOpts } = {
        fd: this.#fd,
        readable: true,
        writable: false,
        onread: {
          buffer: nextBuffer,
          callback: (byteCount, buffer) => onChunk(byteCount, buffer as Buffer),
        },
      };
      const socket = new Socket(options);
      this.#socket = socket;
      pool.onGive(resumeIfPossible);
      socket.once('end', () => stop(resolve));
      socket.once('error', (cause) => stop(() => reject(this.#brokeOff(this.name, cause))));
      if (abortSignal.aborted) onAbort();
      else {
        abortSignal.addEventListener('abort', onAbort);
        socket.resume();
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#socket === undefined) closeSync(this.#fd);
    else this.#socket.destroy();
  }
}
