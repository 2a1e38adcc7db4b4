import type { ByteReader } from '../bytes.js';
import { openReader } from '../io/open-reader.js';
import type { VhdIdentity } from '../vhd/structures.js';
import { openRawStream } from './raw-export.js';
import type { TransferFormat, TransferOptions, VdiExport } from './storage.js';
import { openVhdStream } from './vhd-export.js';

export interface ExportRequest {
  /** Of a raw disk. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly format: TransferFormat;
  /** For a VHD. */
  readonly identity: VhdIdentity;
}

/** A raw disk on its way out; it stays open, and so readable, whatever becomes of its name. */
export async function openExport(
  { path, sizeBytes, format, identity }: ExportRequest,
  options: TransferOptions,
): Promise<VdiExport> {
  const { signal } = options;
  const disk = await openReader(path, signal === undefined ? {} : { abortSignal: signal });
  return await exportDisk(disk, { sizeBytes, format, identity }, options);
}

/**
 * The same of an open disk, wherever it lies: the export owns it from here on.
 *
 * @throws what its reads throw; the disk is closed then
 */
export async function exportDisk(
  disk: ByteReader & { close(): Promise<void> },
  { sizeBytes, format, identity }: Omit<ExportRequest, 'path'>,
  options: TransferOptions,
): Promise<VdiExport> {
  const close = (): Promise<void> => disk.close();
  try {
    if (format === 'raw') {
      return { lengthBytes: sizeBytes, stream: () => openRawStream(disk, sizeBytes, options), close };
    }
    const vhd = await openVhdStream(disk, sizeBytes, identity, options);
    return { lengthBytes: vhd.lengthBytes, stream: () => vhd.bytes(), close };
  } catch (error) {
    await disk.close();
    throw error;
  }
}
