import { viewOf } from '../struct.js';
import { corrupt, type ExtFilesystem } from './filesystem.js';
import { readInodeBytes, type InodeBytes } from './inode.js';
import {
  GOOD_OLD_INODE_BYTES,
  XATTR_INDEX_SYSTEM,
  XATTR_MAGIC,
  xattrEntryHead,
  xattrInodeHeader,
} from './file-layout.js';
import { inode as inodeLayout } from './layout.js';

/** Content that stands in the inode itself: what `i_block` holds, and the attribute `system.data` behind it. */
export interface InlineData {
  /** Both, one behind the other; a copy. */
  readonly bytes: Uint8Array;
  /** Bytes of it that stand in `i_block`. */
  readonly blockBytes: number;
  /** Where `i_block` stands on the disk, in bytes. */
  readonly blockOffset: number;
  /** Where the attribute's value stands on the disk, in bytes. */
  readonly valueOffset: number;
}

const DATA_NAME = Buffer.from('data');
const ATTRIBUTES = 'the attributes of an inode';
/** Names are padded to this. */
const XATTR_ALIGNMENT_BYTES = 4;

interface ValueRange {
  readonly start: number;
  readonly length: number;
}

/**
 * Where the value of `system.data` stands within the inode (ext4 documentation, "Extended Attributes").
 *
 * @returns undefined when the inode has no such attribute
 * @throws PatchVdiError `image` when a list of attributes does not fit the inode
 */
function findSystemData({ bytes, offset }: InodeBytes): ValueRange | undefined {
  if (bytes.length <= GOOD_OLD_INODE_BYTES) return undefined;
  const view = viewOf(bytes);
  const extra = view.getUint16(inodeLayout.rows.i_extra_isize[0], true);
  const start = GOOD_OLD_INODE_BYTES + extra;
  const first = start + xattrInodeHeader.sizeBytes;
  if (extra === 0 || extra % 4 !== 0 || first > bytes.length) return undefined;
  if (xattrInodeHeader.decode(bytes, start).h_magic !== XATTR_MAGIC) return undefined;
  for (let at = first; at + XATTR_ALIGNMENT_BYTES <= bytes.length && view.getUint32(at, true) !== 0;) {
    const nameStart = at + xattrEntryHead.sizeBytes;
    if (nameStart > bytes.length) {
      throw corrupt(ATTRIBUTES, offset + at, `${bytes.length - at} bytes left`, 'a whole entry');
    }
    const entry = xattrEntryHead.decode(bytes, at);
    const nameEnd = nameStart + entry.e_name_len;
    const isData = DATA_NAME.equals(bytes.subarray(nameStart, nameEnd));
    if (entry.e_name_index === XATTR_INDEX_SYSTEM && isData)
      return valueRange(entry, first, at, bytes, offset);
    at = nameStart + Math.ceil(entry.e_name_len / XATTR_ALIGNMENT_BYTES) * XATTR_ALIGNMENT_BYTES;
  }
  return undefined;
}

function valueRange(
  entry: ReturnType<typeof xattrEntryHead.decode>,
  first: number,
  at: number,
  bytes: Uint8Array,
  offset: number,
): ValueRange {
  if (entry.e_value_inum !== 0) {
    const found = `content in inode ${entry.e_value_inum} (ea_inode)`;
    throw corrupt(ATTRIBUTES, offset + at, found, 'inline data in the inode itself');
  }
  const start = first + entry.e_value_offs;
  if (start + entry.e_value_size > bytes.length) {
    const found = `system.data of ${entry.e_value_size} bytes at ${start}`;
    throw corrupt(ATTRIBUTES, offset + at, found, `an end within ${bytes.length} bytes`);
  }
  return { start, length: entry.e_value_size };
}

/**
 * What an inode with `inline_data` holds. Reports `inline-data-missing` when the attribute is not there; what stands in
 * `i_block` is all then.
 *
 * @throws PatchVdiError `image` when its attributes do not fit it, or the content is in another inode (`ea_inode`)
 */
export async function readInlineData(filesystem: ExtFilesystem, inodeNumber: number): Promise<InlineData> {
  const inode = await readInodeBytes(filesystem, inodeNumber);
  const [blockStart, { bytes: blockBytes }] = inodeLayout.rows.i_block;
  const found = findSystemData(inode);
  if (found === undefined) {
    filesystem.report({
      code: 'inline-data-missing',
      severity: 'error',
      structure: `inode ${inodeNumber}`,
      space: 'disk',
      offset: inode.offset,
      found: 'inline data without the attribute system.data',
      expected: 'both, or neither',
    });
  }
  const { start, length } = found ?? { start: 0, length: 0 };
  const bytes = new Uint8Array(blockBytes + length);
  bytes.set(inode.bytes.subarray(blockStart, blockStart + blockBytes));
  bytes.set(inode.bytes.subarray(start, start + length), blockBytes);
  const blockOffset = inode.offset + blockStart;
  return { bytes, blockBytes, blockOffset, valueOffset: inode.offset + start };
}

/** A warning when there is more than `i_size` says, an error when there is less. */
export function reportInlineSize(
  { report }: ExtFilesystem,
  inodeNumber: number,
  sizeBytes: number,
  { bytes, blockBytes, blockOffset }: InlineData,
): void {
  // What stands in `i_block` has no length of its own.
  if (sizeBytes === bytes.length || (bytes.length === blockBytes && sizeBytes < blockBytes)) return;
  report({
    code: 'inline-data-size',
    severity: sizeBytes > bytes.length ? 'error' : 'warning',
    structure: `inode ${inodeNumber}`,
    space: 'disk',
    offset: blockOffset,
    found: `i_size ${sizeBytes}`,
    expected: `${bytes.length} bytes of inline data`,
  });
}
