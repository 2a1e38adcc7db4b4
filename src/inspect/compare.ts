import { printable } from '../ext/corrupt.js';
import { readFile } from '../ext/file-pieces.js';
import type { FileType } from '../ext/inode-facts.js';
import { readInode } from '../ext/inode.js';
import type { WalkedEntry } from '../ext/paths.js';
import { printableBytes } from '../ext/printable-bytes.js';
import type { FindingCode } from '../finding-codes.js';
import type { Finding } from '../findings.js';
import { KIB } from '../units.js';
import { Differences, type Difference } from './differences.js';
import { abortable } from './extract.js';
import type { FileChunk, ImageFile } from './image-file.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';
import { isoNanoseconds, isoSeconds, uuidText } from './uuid-text.js';
import { octalMode } from './mode-text.js';

export interface CompareOptions {
  /** Only content counts: images of the same upload, built at different times, are the same then. */
  readonly contentOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Comparison {
  /** All could be compared, and nothing that counts differs. */
  readonly same: boolean;
  /** No damage in the way, and all files seen: else equal listings may be equally short. */
  readonly complete: boolean;
  /** Of `/patch` alone: the same bytes. Undefined when one of the images has none. */
  readonly samePayload: boolean | undefined;
  readonly differences: readonly Difference[];
  /** Differences beyond those listed. */
  readonly omitted: number;
  /** Of each image, what may have hidden something. */
  readonly damage: { readonly a: readonly Finding[]; readonly b: readonly Finding[] };
}

/** `i_block` of a device holds its number in the old form, then in the new one (fs/ext4/inode.c, ext4_iget). */
const DEVICE_NUMBER_BYTES = 8;
/** PATH_MAX of Linux. */
const MAX_TARGET_BYTES = 4 * KIB;

/** The first place at which two contents differ, or undefined. Lengths are compared by the caller. */
export async function firstDifference(
  a: AsyncIterable<FileChunk>,
  b: AsyncIterable<FileChunk>,
): Promise<number | undefined> {
  const [one, other] = [a[Symbol.asyncIterator](), b[Symbol.asyncIterator]()];
  try {
    let position = 0;
    let left: Rest = NOTHING;
    let right: Rest = NOTHING;
    for (;;) {
      if (left.bytes.length === 0) left = await nextChunk(one);
      if (right.bytes.length === 0) right = await nextChunk(other);
      const length = Math.min(left.bytes.length, right.bytes.length);
      if (length === 0) return left.bytes.length === right.bytes.length ? undefined : position;
      const [x, y] = [left.bytes.subarray(0, length), right.bytes.subarray(0, length)];
      // A hole may be as long as 16 TiB, and costs nobody anything but us.
      const isHole = left.zeros && right.zeros;
      if (!isHole && Buffer.compare(x, y) !== 0) {
        return position + x.findIndex((byte, index) => byte !== y[index]);
      }
      position += length;
      left = { bytes: left.bytes.subarray(length), zeros: left.zeros };
      right = { bytes: right.bytes.subarray(length), zeros: right.zeros };
    }
  } finally {
    await one.return?.();
    await other.return?.();
  }
}

/** What is left of a chunk. */
type Rest = Pick<FileChunk, 'bytes' | 'zeros'>;

const NOTHING: Rest = { bytes: new Uint8Array(0), zeros: false };

async function nextChunk(chunks: AsyncIterator<FileChunk>): Promise<Rest> {
  for (;;) {
    const { done, value } = await chunks.next();
    if (done === true) return NOTHING;
    if (value.bytes.length > 0) return value;
  }
}

async function compareFiles(
  path: string,
  a: ImageFile,
  b: ImageFile,
  into: Differences,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  into.check('content', `${path}, size`, a.size, b.size);
  const at = await firstDifference(abortable(a.chunks(), signal), abortable(b.chunks(), signal));
  if (at === undefined) return true;
  if (at < Math.min(a.size, b.size)) {
    into.add({ class: 'content', what: path, a: `differs from byte ${at} on`, b: 'other bytes' });
  }
  return false;
}

/** By what a person reads: names that only differ in bytes that are no UTF-8 are told apart by nobody. */
async function listing(filesystem: ImageFilesystem): Promise<Map<string, WalkedEntry>> {
  const entries = new Map<string, WalkedEntry>();
  for await (const entry of filesystem.list()) {
    const path = `/${entry.path}`;
    if (entries.has(path)) reportTwice(filesystem, path, entry);
    entries.set(path, entry);
  }
  return entries;
}

function reportTwice({ ext }: ImageFilesystem, path: string, { entry }: WalkedEntry): void {
  ext.report({
    code: 'directory-entry-twice',
    severity: 'error',
    structure: `directory entry ${printable(path)}`,
    space: 'disk',
    offset: undefined,
    found: `the name ${printableBytes(entry.nameBytes)} again, or one that reads the same`,
    expected: 'each name once',
  });
}

/** What a link, or a device, has instead of content. */
async function targetOf({ filesystem: { ext }, entry }: Side): Promise<Uint8Array> {
  const { inodeNumber, type } = entry.facts;
  const raw = await readInode(ext, inodeNumber);
  if (type !== 'symlink') return raw.i_block.subarray(0, DEVICE_NUMBER_BYTES);
  return await readFile(ext, inodeNumber, raw, { maxBytes: MAX_TARGET_BYTES });
}

const WORDS_OF_TARGETS: Partial<Record<FileType, string>> = {
  symlink: 'target',
  'character device': 'device',
  'block device': 'device',
};

async function compareTargets(path: string, a: Side, b: Side, into: Differences): Promise<void> {
  const word = WORDS_OF_TARGETS[a.entry.facts.type];
  if (word === undefined) return;
  const [x, y] = [await targetOf(a), await targetOf(b)];
  if (Buffer.from(x).equals(y)) return;
  into.add({ class: 'content', what: `${path}, ${word}`, a: printableBytes(x), b: printableBytes(y) });
}

async function compareEntries(path: string, a: Side, b: Side, into: Differences): Promise<void> {
  const [x, y] = [a.entry.facts, b.entry.facts];
  into.check('content', `${path}, type`, x.type, y.type);
  into.check('content', `${path}, mode`, octalMode(x.mode), octalMode(y.mode));
  into.check('content', `${path}, owner`, `${x.uid}:${x.gid}`, `${y.uid}:${y.gid}`);
  into.check('identity', `${path}, mtime`, isoNanoseconds(x.mtime), isoNanoseconds(y.mtime));
  if (x.type === y.type) await compareTargets(path, a, b, into);
}

/** An entry, and where it is. */
interface Side {
  readonly filesystem: ImageFilesystem;
  readonly entry: WalkedEntry;
}

/** Compares everything by name; of `/patch` it tells whether the bytes are the same. */
async function compareTrees(
  a: ImageFilesystem,
  b: ImageFilesystem,
  into: Differences,
  signal: AbortSignal | undefined,
): Promise<boolean | undefined> {
  const [left, right] = [await listing(a), await listing(b)];
  let samePayload: boolean | undefined;
  for (const path of [...new Set([...left.keys(), ...right.keys()])].toSorted()) {
    signal?.throwIfAborted();
    const [one, other] = [left.get(path), right.get(path)];
    if (one === undefined || other === undefined) {
      into.add({
        class: 'content',
        what: path,
        a: one === undefined ? 'missing' : one.facts.type,
        b: other === undefined ? 'missing' : other.facts.type,
      });
      continue;
    }
    await compareEntries(path, { filesystem: a, entry: one }, { filesystem: b, entry: other }, into);
    if (one.facts.type !== 'regular' || other.facts.type !== 'regular') continue;
    const same = await compareFiles(
      path,
      await a.fileOf(path, one.facts.inodeNumber),
      await b.fileOf(path, other.facts.inodeNumber),
      into,
      signal,
    );
    if (path === '/patch') samePayload = same;
  }
  return samePayload;
}

function compareSuperblocks(a: ImageFilesystem, b: ImageFilesystem, into: Differences): void {
  const [x, y] = [a.superblock, b.superblock];
  into.check('layout', 'block size', x.blockBytes, y.blockBytes);
  into.check('layout', 'blocks', x.blockCount, y.blockCount);
  into.check('layout', 'free blocks', x.freeBlockCount, y.freeBlockCount);
  into.check('layout', 'inodes', x.inodeCount, y.inodeCount);
  into.check('layout', 'inode size', x.inodeBytes, y.inodeBytes);
  const names = (superblock: typeof x): string =>
    [
      ...superblock.featureNames.compat,
      ...superblock.featureNames.incompat,
      ...superblock.featureNames.roCompat,
    ]
      .toSorted()
      .join(' ');
  into.check('layout', 'features', names(x), names(y));
  into.check('identity', 'label', x.label, y.label);
  into.check('identity', 'UUID', uuidText(x.uuid), uuidText(y.uuid));
  into.check('identity', 'made', isoSeconds(x.createdSeconds), isoSeconds(y.createdSeconds));
  into.check('identity', 'last written', isoSeconds(x.writtenSeconds), isoSeconds(y.writtenSeconds));
}

function compareContainers(a: Image, b: Image, into: Differences): void {
  // Of a stream nobody knows where it ends.
  const [x, y] = [a.virtualSize, b.virtualSize];
  if (x !== undefined && y !== undefined) into.check('layout', 'disk size', x, y);
  into.check('container', 'format', a.format, b.format);
  if (a.vhd === undefined || b.vhd === undefined) return;
  into.check('container', 'VHD unique id', uuidText(a.vhd.footer.uniqueId), uuidText(b.vhd.footer.uniqueId));
  const made = (image: typeof a.vhd): string | undefined => isoSeconds(image.footer.createdSeconds);
  into.check('container', 'VHD made', made(a.vhd), made(b.vhd));
}

/** Of what these tell nobody has seen all. */
const NOT_ALL_SEEN: ReadonlySet<FindingCode> = new Set([
  'listing-cut',
  'listing-depth',
  'directory-encrypted',
]);

function isInTheWay({ code, severity }: Finding): boolean {
  return severity === 'error' || NOT_ALL_SEEN.has(code);
}

/**
 * What differs between two patch VDIs, of whatever formats. The container around the disk is told but never counts.
 *
 * @throws PatchVdiError `image` when one of them cannot be read
 */
export async function compareImages(a: Image, b: Image, options: CompareOptions = {}): Promise<Comparison> {
  const into = new Differences(options.contentOnly === true);
  const [left, right] = [await a.filesystem(), await b.filesystem()];
  const samePayload = await compareTrees(left, right, into, options.signal);
  compareSuperblocks(left, right, into);
  compareContainers(a, b, into);
  const damage = { a: a.findings.filter(isInTheWay), b: b.findings.filter(isInTheWay) };
  const complete = damage.a.length + damage.b.length === 0;
  return {
    same: complete && !into.anyCounts,
    complete,
    samePayload,
    differences: into.list,
    omitted: into.omitted,
    damage,
  };
}
