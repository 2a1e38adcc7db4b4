import type { Image } from '../inspect/image.js';
import { openImage } from '../inspect/open-image.js';
import { ForwardReader } from '../io/forward-reader.js';
import { IterableSource } from '../io/iterable-source.js';
import type { XenConnection } from '../xenapi/connection.js';
import type { VdiRecord } from '../xenapi/records.js';

/** An image in a pool. */
export interface OpenedVdi {
  readonly image: Image;
  /** Closes the connection: the rest of the disk is never read. */
  readonly close: () => Promise<void>;
}

/**
 * Opens the disk of a VDI. A pool offers no ranges: the raw disk is read forward, only as far as somebody wants
 * something of it.
 *
 * @param vdi its reference
 * @throws XenApiError; PatchVdiError `sink`, and what openImage throws
 */
export async function openVdi(
  connection: XenConnection,
  vdi: string,
  { uuid, virtual_size: sizeBytes }: VdiRecord,
): Promise<OpenedVdi> {
  const download = await connection.getStream('/export_raw_vdi', { vdi, format: 'raw' }, true);
  const signal = connection.signal ?? new AbortController().signal;
  const name = `VDI ${uuid} at ${connection.name}`;
  const source = new IterableSource(name, download.chunks, download.contentLength ?? sizeBytes);
  // The download has a patience of its own.
  const reader = new ForwardReader(name, source, { abortSignal: signal, idleMilliseconds: undefined });
  const closeAll = async (): Promise<void> => {
    download.close();
    await reader.close();
  };
  try {
    const image = await openImage(reader, { format: 'raw', signal });
    const close = async (): Promise<void> => {
      await image.close();
      await closeAll();
    };
    return { image, close };
  } catch (error) {
    await closeAll();
    throw error;
  }
}
