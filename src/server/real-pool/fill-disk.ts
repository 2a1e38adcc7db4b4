import type { DiskBytes } from '../../pool/storage.js';
import { tooLong } from '../../pool/counted-stream.js';
import { MIB } from '../../units.js';
import type { XenConnection } from '../../xenapi/connection.js';
import { ImportSink } from '../../xenapi/import-sink.js';
import { REFERENCE } from '../../xenapi/records.js';
import { guardTask } from '../../xenapi/tasks.js';

const LABEL = 'patch-vdi serve: import';
/** Zeros that are handed over at once. */
const ZEROS_BYTES = MIB;

export interface FillRequest {
  /** Reference. */
  readonly vdi: string;
  /** For messages. */
  readonly name: string;
  /** Of the disk: all of it is written. */
  readonly sizeBytes: number;
  /** In ascending order. */
  readonly runs: AsyncIterable<DiskBytes>;
  readonly signal: AbortSignal | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/**
 * Writes the whole of a disk of a real pool, zeros where no run is: as raw, because the importer writes nothing where a
 * VHD holds nothing, and the disk may hold something old there.
 *
 * @throws XenApiError; PatchVdiError; what `runs` throws. What the disk holds then is unknown
 */
export async function fillPoolDisk(connection: XenConnection, request: FillRequest): Promise<void> {
  const { vdi, name, sizeBytes, signal } = request;
  const made = await connection.callToMake('task.create', LABEL, name);
  const task = connection.check(REFERENCE, 'task.create', made);
  await guardTask(connection, task, LABEL, async () => {
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted === true) onAbort();
    const sink = new ImportSink({ connection, task, stop, vdi, name, format: 'raw', imageBytes: sizeBytes });
    try {
      await sink.begin(sizeBytes);
      await writeAll(sink, request, stop.signal);
      await sink.commit(sizeBytes);
    } catch (error) {
      // What stopped it came first.
      stop.signal.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      await sink.discard();
    }
  });
}

async function writeAll(sink: ImportSink, request: FillRequest, stopped: AbortSignal): Promise<void> {
  const { name, sizeBytes, runs, onProgress } = request;
  let at = 0;
  const zerosTo = async (end: number): Promise<void> => {
    while (at < end) {
      const length = Math.min(ZEROS_BYTES, end - at);
      sink.writeZeros(at, length);
      at += length;
      await sink.drained();
      stopped.throwIfAborted();
      onProgress?.(at / sizeBytes);
    }
  };
  for await (const { offset, bytes } of runs) {
    stopped.throwIfAborted();
    if (offset + bytes.length > sizeBytes) throw tooLong(name, offset + bytes.length, sizeBytes);
    await zerosTo(offset);
    // They are somebody else's as soon as the next ones are asked for.
    sink.write(new Uint8Array(bytes), offset);
    at = offset + bytes.length;
    await sink.drained();
    onProgress?.(at / sizeBytes);
  }
  await zerosTo(sizeBytes);
}
