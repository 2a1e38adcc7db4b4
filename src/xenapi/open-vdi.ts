import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { ForwardReader } from '../io/forward-reader.js';
import { IterableSource } from '../io/iterable-source.js';
import type { XenConnection } from './connection.js';
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
 * @returns the caller's; closing it closes the connection: the rest of the disk is never read
 * @throws XenApiError; PatchVdiError `sink`
 */
export async function openVdiReader(
  connection: XenConnection,
  vdi: string,
  { uuid, virtual_size: sizeBytes }: VdiRecord,
): Promise<ForwardReader> {
  const download = await connection.getStream('/export_raw_vdi', { vdi, format: 'raw' }, true);
  const signal = connection.signal ?? new AbortController().signal;
  const name = `VDI ${uuid} at ${connection.name}`;
  const chunks = wholeExport(connection, download.chunks, sizeBytes);
  const source = new IterableSource(name, chunks, download.contentLength ?? sizeBytes);
  // The download has a patience of its own.
  return new DownloadReader(name, source, { abortSignal: signal, idleMilliseconds: undefined }, () =>
    download.close(),
  );
}

class DownloadReader extends ForwardReader {
  readonly #end: () => void;

  constructor(...[name, source, request, end]: [...ConstructorParameters<typeof ForwardReader>, () => void]) {
    super(name, source, request);
    this.#end = end;
  }

  override async close(): Promise<void> {
    this.#end();
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
