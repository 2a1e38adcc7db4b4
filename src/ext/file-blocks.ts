import { readBlockMap } from './block-map.js';
import { readFileMap, type FileMap } from './file-extents.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import type { RawInode } from './inode.js';
import { INODE_FLAG_EXTENTS, INODE_FLAG_INLINE_DATA } from './layout.js';

/**
 * The blocks of a regular file or folder, whichever way its inode has them: an extent tree or a block map.
 *
 * @throws PatchVdiError `image` for a damaged map, or for content that stands in the inode itself
 */
export async function readFileBlocks(filesystem: ExtFilesystem, raw: RawInode): Promise<FileMap> {
  if ((raw.i_flags & INODE_FLAG_EXTENTS) !== 0) return await readFileMap(filesystem, raw);
  if ((raw.i_flags & INODE_FLAG_INLINE_DATA) !== 0) {
    throw corrupt('the inode', 0, `i_flags 0x${raw.i_flags.toString(16)}`, 'a file with blocks');
  }
  return await readBlockMap(filesystem, raw);
}
