import { readBlockMap, readFileMap, type FileMap } from './file-extents.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import { hasInlineData, type RawInode } from './inode.js';
import { INODE_FLAG_EXTENTS } from './layout.js';

/**
 * The blocks of a regular file or folder, whichever way its inode has them: an extent tree or a block map. All of them
 * in memory; `fileExtents` tells those of any file one by one.
 *
 * @param inodeNumber without it the checksums of an extent tree's blocks are not verified
 * @throws PatchVdiError `image` for a damaged map, or for content that stands in the inode itself
 */
export async function readFileBlocks(
  filesystem: ExtFilesystem,
  raw: RawInode,
  inodeNumber?: number,
): Promise<FileMap> {
  if (hasInlineData(raw)) {
    throw corrupt('the inode', 0, `i_flags 0x${raw.i_flags.toString(16)}`, 'a file with blocks');
  }
  if ((raw.i_flags & INODE_FLAG_EXTENTS) !== 0) return await readFileMap(filesystem, raw, inodeNumber);
  return await readBlockMap(filesystem, raw);
}
