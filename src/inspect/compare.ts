import type { FindingCode } from '../finding-codes.js';
import type { Finding } from '../findings.js';
import { compareTrees } from './compare-trees.js';
import { Differences, type Difference } from './differences.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';
import { isoSeconds, uuidText } from './uuid-text.js';

/** What counts as a difference for `compareImages`. */
export interface CompareOptions {
  /** Only content counts: images of the same upload, built at different times, are the same then. */
  readonly contentOnly?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What `compareImages` has found. */
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
  const samePayload = await compareTrees([a, b], into, options.signal);
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
