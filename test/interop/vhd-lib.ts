import { open, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';

/*
 * vhd-lib (Xen Orchestra) as an independent reader of dynamic VHDs: right as a reader, and not used as a writer
 * (README, "Dependencies"). It has no types; these are the parts used here.
 */
interface VhdLib {
  /** The whole virtual disk, block by block. */
  readonly createContentStream: (handler: object, path: string) => AsyncIterable<Uint8Array>;
}

interface OpenedPath {
  readonly path: string;
}

/** The calls that vhd-lib makes of its storage, on local files. */
const localFiles = {
  openFile: (path: string): Promise<OpenedPath> => Promise.resolve({ path }),
  closeFile: (): Promise<void> => Promise.resolve(),
  getSize: async ({ path }: OpenedPath): Promise<number> => (await stat(path)).size,
  async read({ path }: OpenedPath, buffer: Buffer, position: number) {
    const file = await open(path, 'r');
    try {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      return { bytesRead, buffer };
    } finally {
      await file.close();
    }
  },
};

/** The virtual disk as vhd-lib reads it; throws what its own checks of footer, header and checksums throw. */
export async function readWithVhdLib(path: string): Promise<Buffer> {
  const { createContentStream } = createRequire(import.meta.url)('vhd-lib') as VhdLib;
  const parts: Uint8Array[] = [];
  for await (const part of createContentStream(localFiles, path)) parts.push(part);
  return Buffer.concat(parts);
}
