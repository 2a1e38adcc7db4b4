import type { FindingCode } from '../finding-codes.js';
import type { Extent } from '../ext/file-extents.js';
import { describeInode, type InodeFacts } from '../ext/inode-facts.js';
import { readInode } from '../ext/inode.js';
import { describeLink, lookUp } from '../ext/paths.js';
import type { Finding } from '../findings.js';
import { octalMode } from './mode-text.js';
import type { ImageFile } from './image-file.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';
import { isoNanoseconds, isoSeconds } from './uuid-text.js';

/** What `inspect` tells of the file `patch`. */
export interface PatchReport {
  readonly path: string;
  readonly inodeNumber: number;
  readonly size: number;
  /** Permission bits in octal, `0755`. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly mtime: string;
  readonly ctime: string;
  readonly atime: string;
  readonly crtime: string | undefined;
  readonly flags: readonly string[];
  readonly storage: InodeFacts['storage'];
  readonly layout: PatchLayout;
}

/** Where the content lies. */
export interface PatchLayout {
  /** Runs of blocks; 0 when the content stands in the inode. */
  readonly extentCount: number;
  /** Where the first byte lies on the disk; undefined when it lies nowhere. */
  readonly firstByteOffset: number | undefined;
  /** In one piece, from the first byte to the last. */
  readonly contiguous: boolean;
  /** Bytes of content that have no blocks, and read as zeros. */
  readonly holeBytes: number;
  /** Bytes of content whose blocks were never written, and read as zeros. */
  readonly unwrittenBytes: number;
}

/** More runs than this are counted no further: a file on a hostile disk may have millions. */
const MAX_COUNTED_EXTENTS = 1_000_000;

async function layoutOf(image: Image, file: ImageFile, blockBytes: number): Promise<PatchLayout> {
  let extentCount = 0;
  let mappedBytes = 0;
  let unwrittenBytes = 0;
  let first: Extent | undefined;
  if (file.facts.storage === 'extents' || file.facts.storage === 'block map') {
    for await (const extent of file.extents()) {
      const start = Math.min(extent.fileBlock * blockBytes, file.size);
      const bytes = Math.min((extent.fileBlock + extent.blockCount) * blockBytes, file.size) - start;
      first ??= extent;
      extentCount += 1;
      mappedBytes += bytes;
      if (extent.unwritten) unwrittenBytes += bytes;
      if (extentCount >= MAX_COUNTED_EXTENTS) break;
    }
  } else mappedBytes = file.size;
  const holeBytes = file.size - mappedBytes;
  return {
    extentCount,
    firstByteOffset:
      first === undefined || first.fileBlock > 0 ? undefined : image.offsetBytes + first.fsBlock * blockBytes,
    contiguous: extentCount <= 1 && holeBytes === 0,
    holeBytes,
    unwrittenBytes,
  };
}

function judgeLayout(image: Image, path: string, { holeBytes, unwrittenBytes }: PatchLayout): void {
  if (holeBytes + unwrittenBytes === 0) return;
  const parts = [
    ...(holeBytes > 0 ? [`${holeBytes} bytes without blocks`] : []),
    ...(unwrittenBytes > 0 ? [`${unwrittenBytes} bytes in unwritten extents`] : []),
  ];
  image.report({
    code: 'patch-has-holes',
    severity: 'warning',
    structure: path,
    space: 'disk',
    offset: undefined,
    found: `${parts.join(', ')}, which read as zeros`,
    expected: 'a file that was written from its first byte to its last',
  });
}

function judgeFile(image: Image, file: ImageFile, freeBytes: number): void {
  const warn = (code: FindingCode, found: string, expected: string): void => {
    const finding: Finding = {
      code,
      severity: 'warning',
      structure: file.path,
      space: 'disk',
      offset: undefined,
      found,
      expected,
    };
    image.report(finding);
  };
  if (file.size === 0) warn('patch-empty', 'a file of 0 bytes', 'an upload');
  if ((file.mode & 0o111) === 0) {
    warn('patch-not-executable', `mode ${octalMode(file.mode)}`, 'an executable file, such as mode 0755');
  }
  if (freeBytes < file.size) {
    warn(
      'scratch-small',
      `${freeBytes} free bytes beside it`,
      `room to unpack it: ${file.size} bytes or more`,
    );
  }
}

/**
 * Looks at the file `patch`. That there is none, or that it is no regular file, is a finding.
 *
 * @throws PatchVdiError `image` when it is there and cannot be read
 */
export async function describePatch(
  image: Image,
  filesystem: ImageFilesystem,
  path: string,
): Promise<PatchReport | undefined> {
  const { ext, superblock } = filesystem;
  const inodeNumber = await lookUp(ext, path, { mayEndInLink: true });
  const missing = (code: FindingCode, found: string, expected: string): undefined => {
    image.report({
      code,
      severity: 'error',
      structure: path,
      space: 'disk',
      offset: undefined,
      found,
      expected,
    });
    return undefined;
  };
  if (inodeNumber === undefined) return missing('patch-missing', 'no such file', `a file ${path}`);
  const raw = await readInode(ext, inodeNumber);
  const { type } = describeInode(ext, inodeNumber, raw);
  if (type === 'symlink') {
    return missing('patch-not-regular', await describeLink(ext, inodeNumber, raw), 'a regular file');
  }
  if (type !== 'regular') return missing('patch-not-regular', `a ${type}`, 'a regular file');
  const file = await filesystem.file(path);
  const { facts } = file;
  const layout = await layoutOf(image, file, superblock.blockBytes);
  if (path === '/patch') {
    judgeFile(image, file, superblock.freeBlockCount * superblock.blockBytes);
    judgeLayout(image, path, layout);
  }
  return {
    path,
    inodeNumber,
    size: file.size,
    mode: octalMode(facts.mode),
    uid: facts.uid,
    gid: facts.gid,
    linkCount: facts.linkCount,
    mtime: isoNanoseconds(facts.mtime),
    ctime: isoNanoseconds(facts.ctime),
    atime: isoNanoseconds(facts.atime),
    crtime: facts.crtime === undefined ? undefined : isoSeconds(facts.crtime.seconds),
    flags: facts.flagNames,
    storage: facts.storage,
    layout,
  };
}
