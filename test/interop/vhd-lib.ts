import { createWriteStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/*
 * vhd-lib (Xen Orchestra) as an independent reader of dynamic and differencing VHDs, and as a writer of foreign ones
 * for our reader; the product itself does not use it (README, "Dependencies"). It has no types; these are the parts
 * used here.
 */
interface Vhd {
  readHeaderAndFooter(): Promise<void>;
  readBlockAllocationTable(): Promise<void>;
  /** Writes whole sectors from that sector of the disk on, and the footers. */
  writeData(offsetSectors: number, data: Buffer): Promise<void>;
}

/** Data at a place of the disk, a divisor of 2 MiB long. */
export interface Fragment {
  readonly logicalAddressBytes: number;
  readonly data: Buffer;
}

interface VhdLib {
  readonly default: new (handler: object, path: string) => Vhd;
  /** The whole virtual disk, block by block. */
  readonly createContentStream: (handler: object, path: string) => AsyncIterable<Uint8Array>;
  /** A dynamic VHD that holds what a chain of them does. */
  readonly createSyntheticStream: (handler: object, path: string) => Promise<NodeJS.ReadableStream>;
  readonly createReadableSparseStream: (
    diskBytes: number,
    fragmentBytes: number,
    addresses: readonly number[],
    fragments: AsyncIterable<Fragment>,
  ) => Promise<NodeJS.ReadableStream>;
  readonly chainVhd: (
    parentHandler: object,
    parentPath: string,
    childHandler: object,
    childPath: string,
    force: boolean,
  ) => Promise<void>;
}

interface OpenedPath {
  readonly path: string;
}

const pathOf = (file: OpenedPath | string): string => (typeof file === 'string' ? file : file.path);

/** The calls that vhd-lib makes of its storage, on the files of a folder. */
const filesIn = (root: string) => ({
  openFile: (path: string): Promise<OpenedPath> => Promise.resolve({ path: join(root, path) }),
  closeFile: (): Promise<void> => Promise.resolve(),
  getSize: async (file: OpenedPath | string): Promise<number> => (await stat(pathOf(file))).size,
  async read(from: OpenedPath | string, buffer: Buffer, position: number) {
    const file = await open(pathOf(from), 'r');
    try {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      return { bytesRead, buffer };
    } finally {
      await file.close();
    }
  },
  async write(to: OpenedPath | string, data: Buffer, position: number): Promise<void> {
    const file = await open(pathOf(to), 'r+');
    try {
      await file.write(data, 0, data.length, position);
    } finally {
      await file.close();
    }
  },
});

const localFiles = filesIn('/');
const library = createRequire(import.meta.url)('vhd-lib') as VhdLib;

/** The virtual disk as vhd-lib reads it; throws what its own checks of footer, header and checksums throw. */
export async function readWithVhdLib(path: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of library.createContentStream(localFiles, path)) parts.push(part);
  return Buffer.concat(parts);
}

/** The disk of a chain, as vhd-lib puts it together; its parents lie in the folder of `path`. */
export async function readChainWithVhdLib(path: string): Promise<Buffer> {
  const merged = `${path}.merged`;
  await pipeline(await library.createSyntheticStream(localFiles, path), createWriteStream(merged));
  return readWithVhdLib(merged);
}

/** Writes a dynamic VHD of that many bytes (vhd-lib rounds them to its geometry). */
export async function writeWithVhdLib(
  path: string,
  diskBytes: number,
  fragments: readonly Fragment[],
): Promise<void> {
  const addresses = fragments.map(({ logicalAddressBytes }) => logicalAddressBytes);
  const fragmentBytes = fragments[0]?.data.length ?? 65_536;
  // oxlint-disable-next-line require-await, typescript/require-await -- vhd-lib wants an asynchronous iterator
  const iterate = async function* (): AsyncGenerator<Fragment> {
    yield* fragments;
  };
  const stream = await library.createReadableSparseStream(diskBytes, fragmentBytes, addresses, iterate());
  await pipeline(stream, createWriteStream(path));
}

/** Makes a differencing disk of a dynamic one, over a parent in the same folder. */
export async function chainWithVhdLib(parentPath: string, childPath: string): Promise<void> {
  if (dirname(parentPath) !== dirname(childPath)) throw new Error('vhd-lib ties files of one folder');
  await library.chainVhd(localFiles, parentPath, localFiles, childPath, true);
}

/** Writes whole sectors to a disk that is there. */
export async function writeSectorsWithVhdLib(path: string, sector: number, data: Buffer): Promise<void> {
  const Vhd = library.default;
  const vhd = new Vhd(localFiles, path);
  await vhd.readHeaderAndFooter();
  await vhd.readBlockAllocationTable();
  await vhd.writeData(sector, data);
}
