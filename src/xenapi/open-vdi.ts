import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { ForwardReader } from '../io/forward-reader.js';
import { IterableSource } from '../io/iterable-source.js';
import type { XenConnection } from './connection.js';
import type { ServerDownload } from './get-stream.js';
import { printable } from '../signature/printable.js';
import type { VdiRecord } from './records.js';
import { serverFailure } from './server-failure.js';

/** An image in a pool. */
export interface OpenedVdi {
  readonly image: Image;
  /** Closes the connection: the rest of the disk is never read. */
  readonly close: () => Promise<void>;
}

/** Behind its 200 a host may say that it has failed, as another answer in the body: so much is looked at. */
const TAIL_BYTES = 1024;
const LATER_ANSWER = /HTTP\/1\.[01] ([45]\d\d[^\r\n]{0,100})/;

/** The bytes of an export. One that ends before the disk does was given up by its host. */
async function* wholeExport(
  { address }: XenConnection,
  chunks: AsyncIterable<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  let tail = Buffer.alloc(0);
  for await (const chunk of chunks) {
    bytes += chunk.length;
    tail = Buffer.concat([tail, chunk.subarray(-TAIL_BYTES)]).subarray(-TAIL_BYTES);
    yield chunk;
  }
  if (bytes >= sizeBytes) return;
  const said = LATER_ANSWER.exec(tail.toString('latin1'))?.[1];
  throw serverFailure(address, 'the export of the VDI ended too early', {
    found: said === undefined ? `${bytes} bytes` : `${printable(said, 100)}, after its first answer`,
    expected: `${sizeBytes} bytes, the size of the disk`,
    hint: 'run it again; the log of the host that has the SR says more',
  });
}

/**
 * The raw disk of a VDI, as a stream that is read forward. A pool offers no ranges.
 *
 * @param vdi its reference
 * @param memoryBytes how much of what has gone by is remembered; default: as {@link ForwardReader} has it
 * @returns the caller's; closing it closes the connection: the rest of the disk is never read
 * @throws XenApiError; PatchVdiError `sink`
 */
export async function openVdiReader(
  connection: XenConnection,
  vdi: string,
  { uuid, virtual_size: sizeBytes }: Pick<VdiRecord, 'uuid' | 'virtual_size'>,
  memoryBytes?: number,
): Promise<ForwardReader> {
  const download = await connection.getStream('/export_raw_vdi', { vdi, format: 'raw' }, true);
  const abortSignal = connection.signal ?? new AbortController().signal;
  const chunks = wholeExport(connection, download.chunks, sizeBytes);
  return new DownloadReader({ ...download, chunks }, `VDI ${uuid} at ${connection.name}`, sizeBytes, {
    abortSignal,
    memoryBytes,
  });
}

interface ReaderOptions {
  readonly abortSignal: AbortSignal;
  readonly memoryBytes: number | undefined;
}

/** Ends the download with itself. */
class DownloadReader extends ForwardReader {
  readonly #download: ServerDownload;

  constructor(download: ServerDownload, name: string, sizeBytes: number, options: ReaderOptions) {
    const source = new IterableSource(name, download.chunks, download.contentLength ?? sizeBytes);
    // The download has a patience of its own.
    super(name, source, { ...options, idleMilliseconds: undefined }, options.memoryBytes);
    this.#download = download;
  }

  override async close(): Promise<void> {
    this.#download.close();
    await super.close();
  }
}

/**
 * Opens the disk of a VDI: it is read forward, only as far as somebody wants something of it.
 *
 * @param vdi its reference
 * @throws XenApiError; PatchVdiError `sink`, and what openImage throws
 */
export async function openVdi(connection: XenConnection, vdi: string, record: VdiRecord): Promise<OpenedVdi> {
  const reader = await openVdiReader(connection, vdi, record);
  try {
    const { signal } = connection;
    const image = await openImage(reader, { format: 'raw', signal });
    const close = async (): Promise<void> => {
      await image.close();
      await reader.close();
    };
    return { image, close };
  } catch (error) {
    await reader.close();
    throw error;
  }
}
