import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openExt, type ExtFilesystem, type OpenExtOptions } from '../../src/ext/filesystem.js';
import { readDirectory } from '../../src/ext/directory.js';
import { ROOT_INODE_NUMBER, SUPERBLOCK_OFFSET_BYTES, superBlock } from '../../src/ext/layout.js';
import { crc32c } from '../../src/ext/crc32c.js';
import { openRandomAccess } from '../../src/io/random-access-file.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { formatTemplate } from '../../src/tools/mke2fs.js';
import { createSparse, readAt, writeAt } from '../oracles/sample-image.js';

/** Features of the sample images without checksums, so that a single field can be changed. */
export const WITHOUT_CHECKSUMS = 'none,filetype,extent,64bit,flex_bg,sparse_super,large_file,extra_isize';

/** An image as the product formats it, with a file `patch` of so many bytes (rounded up to 2 MiB by mke2fs). */
export async function formatWithPatch(
  folder: string,
  sizeBytes: number,
  patchBytes: number,
): Promise<string> {
  const imagePath = createSparse(join(folder, 'template.raw'), sizeBytes);
  const request = {
    imagePath,
    folder,
    patchBytes,
    slackBlocks: 0,
    label: 'template',
    uuid: '01020304-0506-4708-890a-0b0c0d0e0f10',
    hashSeed: '11121314-1516-4718-991a-1b1c1d1e1f20',
  };
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: folder };
  await formatTemplate(request, { environment, epochSeconds: 1_000_000_000, abortSignal: undefined });
  return imagePath;
}

/** Opens an image with our reader; closed when the test ends. */
export function openImage(imagePath: string, options: OpenExtOptions = {}): Promise<ExtFilesystem> {
  const file = openRandomAccess(imagePath);
  onTestFinished(() => file.close());
  return openExt((offset, length) => Promise.resolve(file.read(offset, length)), options);
}

/** The inode number of a file in the root folder, as our reader finds it. */
export async function inodeOf(filesystem: ExtFilesystem, name: string): Promise<number> {
  const entries = await readDirectory(filesystem, ROOT_INODE_NUMBER);
  return entries.find((entry) => entry.name === name)?.inodeNumber ?? 0;
}

export function readSuperblock(imagePath: string): Buffer {
  return readAt(imagePath, SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes);
}

/** Writes a superblock back, with a checksum that is right: damage must be found in the field itself. */
export function writeSuperblock(imagePath: string, bytes: Uint8Array): void {
  const [checksumOffset] = superBlock.rows.s_checksum;
  superBlock.set(bytes, 's_checksum', crc32c(0xffffffff, bytes.subarray(0, checksumOffset)));
  writeAt(imagePath, SUPERBLOCK_OFFSET_BYTES, bytes);
}
