import { invariant } from '../../errors.js';
import { changeImage } from '../../tools/debugfs.js';
import type { E2fsprogsCall } from '../../tools/e2fsprogs.js';
import type { DiskFile } from '../disk-file.js';
import { placeOf } from './ext-editor.js';

/** More than the four that an inode has room for, so that the tree gets a block of its own. */
const PIECES = 8;

/**
 * Has debugfs write the first extent of `patch` as several that follow each other, so that its extent tree gets a leaf
 * of its own, if it has none. The content stays where it is.
 *
 * @returns the block of the leaf
 */
export async function growExtentTree(disk: DiskFile, folder: string, call: E2fsprogsCall): Promise<number> {
  const { map, inodeNumber } = await placeOf(disk, 'patch');
  const [first] = map?.extents ?? [];
  const [known] = map?.treeBlocks ?? [];
  if (known !== undefined) return known;
  invariant(first !== undefined && first.blockCount >= PIECES, 'patch begins with a large extent');
  const length = Math.ceil(first.blockCount / PIECES);
  const pieces = Array.from({ length: PIECES }, (_, index) => index * length)
    .filter((start) => start < first.blockCount)
    .map((start) => {
      const blocks = Math.min(length, first.blockCount - start);
      return `${start} ${blocks} ${first.fsBlock + start}`;
    });
  const commands = pieces.map(
    (piece, index) => `${index === 0 ? 'replace_node' : 'insert_node --after'} ${piece}`,
  );
  await changeImage(
    disk.path,
    [`extent_open <${inodeNumber}>`, 'root', ...commands, 'extent_close'],
    folder,
    call,
  );
  const grown = (await placeOf(disk, 'patch')).map?.treeBlocks ?? [];
  const [leaf] = grown;
  invariant(leaf !== undefined, 'the extent tree of patch has a block of its own');
  return leaf;
}
