import { printable } from '../ext/corrupt.js';
import { readFile } from '../ext/file-pieces.js';
import type { FileType } from '../ext/inode-facts.js';
import { readInode } from '../ext/inode.js';
import type { WalkedEntry } from '../ext/paths.js';
import { printableBytes } from '../ext/printable-bytes.js';
import { KIB } from '../units.js';
import { ContentBudget, compareFiles } from './compare-content.js';
import type { Differences } from './differences.js';
import type { ImageFilesystem } from './image-filesystem.js';
import type { Image } from './image.js';
import { octalMode } from './mode-text.js';
import { isoNanoseconds } from './uuid-text.js';

/** `i_block` of a device holds its number in the old form, then in the new one (fs/ext4/inode.c, ext4_iget). */
const DEVICE_NUMBER_BYTES = 8;
/** PATH_MAX of Linux. */
const MAX_TARGET_BYTES = 4 * KIB;

/** The path; with the bytes of its name, where these are no UTF-8 and another name could look the same. */
function keyOf({ path, entry }: WalkedEntry): string {
  return path.includes('\ufffd') ? `/${path} (${Buffer.from(entry.nameBytes).toString('hex')})` : `/${path}`;
}

async function listing(filesystem: ImageFilesystem): Promise<Map<string, WalkedEntry>> {
  const entries = new Map<string, WalkedEntry>();
  for await (const entry of filesystem.list()) {
    const path = keyOf(entry);
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
export async function compareTrees(
  images: readonly [Image, Image],
  into: Differences,
  signal: AbortSignal | undefined,
): Promise<boolean | undefined> {
  const [a, b] = [await images[0].filesystem(), await images[1].filesystem()];
  const [left, right] = [await listing(a), await listing(b)];
  const [ofA, ofB] = [new ContentBudget(images[0], a), new ContentBudget(images[1], b)];
  const inodes = new Set<string>();
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
    // Further names of a file that was compared tell nothing new.
    const pair = `${one.facts.inodeNumber} ${other.facts.inodeNumber}`;
    if (inodes.has(pair) && path !== '/patch') continue;
    inodes.add(pair);
    const [x, y] = [
      await a.fileOf(path, one.facts.inodeNumber),
      await b.fileOf(path, other.facts.inodeNumber),
    ];
    ofA.add(x);
    ofB.add(y);
    const same = await compareFiles(path, x, y, into, signal);
    if (path === '/patch') samePayload = same;
  }
  return samePayload;
}
