import { PatchVdiError } from '../errors.js';
import { findingError } from '../findings.js';
import { openImage } from '../inspect/open-image.js';
import { Spool } from '../io/spool.js';
import { dataRuns } from './disk-runs.js';
import type { DiskBytes } from './storage.js';

export interface ImportedVhd {
  /** What the disk in the VHD holds besides zeros. */
  runs(): AsyncGenerator<DiskBytes>;
  close(): Promise<void>;
}

/**
 * Keeps a VHD that comes as a stream in a nameless file, and opens it: its blocks may stand in any order, and all of
 * its structures are checked before the first byte of the disk is taken from it.
 *
 * @param folder with room for it
 * @param diskBytes what the disk in it may have at most
 * @throws PatchVdiError `upload` for a VHD that cannot be taken, `space`; what `source` throws
 */
export async function openImportedVhd(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  diskBytes: number,
  signal: AbortSignal | undefined,
): Promise<ImportedVhd> {
  const spool = new Spool(folder);
  try {
    for await (const chunk of source) {
      signal?.throwIfAborted();
      spool.append(chunk);
    }
    const image = await openImage(spool.place, { format: 'vhd', signal });
    try {
      const fault = image.findings.find(({ severity }) => severity === 'error');
      if (fault !== undefined) throw findingError(fault);
      const size = image.virtualSize ?? 0;
      if (image.format === 'vhd-differencing') throw refused('a differencing VHD', 'one without a parent');
      if (size > diskBytes) throw refused(`a disk of ${size} bytes`, `${diskBytes} bytes at most`);
      const close = async (): Promise<void> => {
        await image.close();
        spool.close();
      };
      return { runs: () => dataRuns(image, size, signal), close };
    } catch (error) {
      await image.close();
      throw error;
    }
  } catch (error) {
    spool.close();
    throw error;
  }
}

function refused(found: string, expected: string): PatchVdiError {
  return new PatchVdiError('upload', 'the VHD cannot be imported', { context: { found, expected } });
}
