import type { WalkedEntry } from '../ext/paths.js';
import type { FileChunk, ImageFile } from './image-file.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';
import { isoNanoseconds, isoSeconds, uuidText } from './uuid-text.js';
import { octalMode } from './mode-text.js';

/** One thing that two images do not have in common. */
export interface Difference {
  /**
   * `content`: what a host would see in the mounted file system. `identity`: who made it and when: UUIDs, times,
   * labels. `layout`: how it is laid out. `container`: what is around the disk, which no host sees.
   */
  readonly class: 'content' | 'layout' | 'identity' | 'container';
  /** `/patch, byte 4096`, `UUID`. */
  readonly what: string;
  readonly a: string;
  readonly b: string;
}

export interface CompareOptions {
  /** Only content counts: images of the same upload, built at different times, are the same then. */
  readonly contentOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Comparison {
  /** Nothing that counts differs. */
  readonly same: boolean;
  /** Of `/patch` alone: the same bytes. Undefined when one of the images has none. */
  readonly samePayload: boolean | undefined;
  readonly differences: readonly Difference[];
  /** Differences beyond those listed. */
  readonly omitted: number;
}

const MAX_DIFFERENCES = 200;

/** Collects differences up to a bound, and knows whether one of them counts. */
class Differences {
  readonly list: Difference[] = [];
  omitted = 0;
  anyCounts = false;
  readonly #contentOnly: boolean;

  constructor(contentOnly: boolean) {
    this.#contentOnly = contentOnly;
  }

  add(difference: Difference): void {
    const kind = difference.class;
    if (kind === 'content' || (kind !== 'container' && !this.#contentOnly)) this.anyCounts = true;
    if (this.list.length < MAX_DIFFERENCES) this.list.push(difference);
    else this.omitted += 1;
  }

  /** Adds one if the two values are not the same. */
  check(kind: Difference['class'], what: string, a: unknown, b: unknown): void {
    const [one, other] = [textOf(a), textOf(b)];
    if (one !== other) this.add({ class: kind, what, a: one, b: other });
  }
}

function textOf(value: unknown): string {
  if (value === undefined || value === '') return 'none';
  return typeof value === 'string' ? value : String(value as number | boolean);
}

/** The first place at which two contents differ, or undefined. Lengths are compared by the caller. */
export async function firstDifference(
  a: AsyncIterable<FileChunk>,
  b: AsyncIterable<FileChunk>,
): Promise<number | undefined> {
  const [one, other] = [a[Symbol.asyncIterator](), b[Symbol.asyncIterator]()];
  try {
    let position = 0;
    let left: Uint8Array = new Uint8Array(0);
    let right: Uint8Array = new Uint8Array(0);
    for (;;) {
      if (left.length === 0) left = await nextBytes(one);
      if (right.length === 0) right = await nextBytes(other);
      const length = Math.min(left.length, right.length);
      if (length === 0) return left.length === right.length ? undefined : position;
      const [x, y] = [left.subarray(0, length), right.subarray(0, length)];
      if (Buffer.compare(x, y) !== 0) return position + x.findIndex((byte, index) => byte !== y[index]);
      position += length;
      left = left.subarray(length);
      right = right.subarray(length);
    }
  } finally {
    await one.return?.();
    await other.return?.();
  }
}

async function nextBytes(chunks: AsyncIterator<FileChunk>): Promise<Uint8Array> {
  for (;;) {
    const { done, value } = await chunks.next();
    if (done === true) return new Uint8Array(0);
    if (value.bytes.length > 0) return value.bytes;
  }
}

async function compareFiles(path: string, a: ImageFile, b: ImageFile, into: Differences): Promise<boolean> {
  into.check('content', `${path}, size`, a.size, b.size);
  const at = await firstDifference(a.chunks(), b.chunks());
  if (at === undefined) return true;
  if (at < Math.min(a.size, b.size)) {
    into.add({ class: 'content', what: path, a: `differs from byte ${at} on`, b: 'other bytes' });
  }
  return false;
}

async function listing(filesystem: ImageFilesystem): Promise<Map<string, WalkedEntry>> {
  const entries = new Map<string, WalkedEntry>();
  for await (const entry of filesystem.list()) entries.set(`/${entry.path}`, entry);
  return entries;
}

function compareEntries(path: string, a: WalkedEntry, b: WalkedEntry, into: Differences): void {
  const [x, y] = [a.facts, b.facts];
  into.check('content', `${path}, type`, x.type, y.type);
  into.check('content', `${path}, mode`, octalMode(x.mode), octalMode(y.mode));
  into.check('content', `${path}, owner`, `${x.uid}:${x.gid}`, `${y.uid}:${y.gid}`);
  into.check('identity', `${path}, mtime`, isoNanoseconds(x.mtime), isoNanoseconds(y.mtime));
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
    compareEntries(path, one, other, into);
    if (one.facts.type !== 'regular' || other.facts.type !== 'regular') continue;
    const same = await compareFiles(path, await a.file(path), await b.file(path), into);
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
  into.check('layout', 'disk size', a.virtualSize, b.virtualSize);
  into.check('container', 'format', a.format, b.format);
  if (a.vhd === undefined || b.vhd === undefined) return;
  into.check('container', 'VHD unique id', uuidText(a.vhd.footer.uniqueId), uuidText(b.vhd.footer.uniqueId));
  const made = (image: typeof a.vhd): string | undefined => isoSeconds(image.footer.createdSeconds);
  into.check('container', 'VHD made', made(a.vhd), made(b.vhd));
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
  return { same: !into.anyCounts, samePayload, differences: into.list, omitted: into.omitted };
}
