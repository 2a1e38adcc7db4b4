import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { ForwardReader } from '../io/forward-reader.js';
import { IterableSource } from '../io/iterable-source.js';
import type { XenConnection } from './connection.js';
import type { VdiRecord } from './records.js';

/** An image in a pool. */
export interface OpenedVdi {
  readonly image: Image;
  /** Closes the connection: the rest of the disk is never read. */
  readonly close: () => Promise<void>;
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
  const source = new IterableSource(name, download.chunks, download.contentLength ?? sizeBytes);
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
