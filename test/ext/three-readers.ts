/* The same image as three readers see it: ours, debugfs, and the kernel; in one form, so that they can be compared. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
  rmSync,
  type BigIntStats,
} from 'node:fs';
import { join } from 'node:path';
import { filePieces, readFile } from '../../src/ext/file-pieces.js';
import type { ExtFilesystem } from '../../src/ext/filesystem.js';
import type { Timestamp } from '../../src/ext/inode-times.js';
import { readInode } from '../../src/ext/inode.js';
import { walk, type WalkedEntry } from '../../src/ext/paths.js';
import { MIB } from '../../src/units.js';
import { answers } from '../oracles/debugfs.js';

/** One file or folder; what a reader does not tell is undefined. */
export interface SeenFile {
  readonly inode: number;
  readonly type: string;
  readonly mode: number;
  readonly owner: string;
  readonly size: number;
  readonly links: number;
  /** `i_blocks`, in units of 512 bytes. */
  readonly blocks?: number;
  /** What stat(2) says, in which the kernel counts content in the inode, too (fs/ext4/inode.c, ext4_file_getattr). */
  readonly statBlocks?: number;
  /** Access, change, modification: seconds and nanoseconds. */
  readonly times: string;
  /** When it was made, where the inode has room for it. */
  readonly made: string | undefined;
  /** Of a regular file its SHA-256, of a symbolic link its target. */
  readonly content: string | undefined;
}

/** By path from the root. */
export type Seen = Map<string, SeenFile>;

const sortedByPath = (seen: Seen): Seen => new Map([...seen].sort(([a], [b]) => (a < b ? -1 : 1)));

const ZEROS = Buffer.alloc(MIB);

/** The SHA-256 of a file, and that its pieces cover it. */
export async function hashOurs(
  filesystem: ExtFilesystem,
  inodeNumber: number,
): Promise<{ sha256: string; lengthBytes: number }> {
  const hash = createHash('sha256');
  let end = 0;
  // What is wrong with the inode itself was said when it was listed.
  const raw = await readInode({ ...filesystem, report: () => undefined }, inodeNumber);
  for await (const piece of filePieces(filesystem, inodeNumber, raw)) {
    if (piece.fileOffset !== end || piece.length < 1) throw new Error('the pieces have a gap or an overlap');
    end += piece.length;
    for (let done = 0; done < piece.length; done += MIB) {
      const length = Math.min(MIB, piece.length - done);
      if (piece.inline !== undefined) hash.update(piece.inline);
      else if (piece.diskOffset === undefined) hash.update(ZEROS.subarray(0, length));
      else hash.update(await filesystem.read(piece.diskOffset + done, length));
    }
  }
  return { sha256: hash.digest('hex'), lengthBytes: end };
}

const ours = ({ seconds, nanoseconds }: Timestamp): string => `${seconds}+${nanoseconds}`;

async function contentOf(filesystem: ExtFilesystem, { facts }: WalkedEntry): Promise<string> {
  const { inodeNumber, type, sizeBytes } = facts;
  if (type === 'symlink') {
    const raw = await readInode(filesystem, inodeNumber);
    return Buffer.from(await readFile(filesystem, inodeNumber, raw, { maxBytes: 4096 })).toString();
  }
  if (type !== 'regular') return '';
  const { sha256, lengthBytes } = await hashOurs(filesystem, inodeNumber);
  if (lengthBytes !== sizeBytes) throw new Error('the pieces do not cover the file');
  return sha256;
}

export async function seenByUs(filesystem: ExtFilesystem): Promise<Seen> {
  const seen: Seen = new Map();
  for await (const found of walk(filesystem)) {
    const { path, facts } = found;
    seen.set(path, {
      inode: facts.inodeNumber,
      type: facts.type,
      mode: facts.mode,
      owner: `${facts.uid}:${facts.gid}`,
      size: facts.sizeBytes,
      links: facts.linkCount,
      blocks: facts.blocks512,
      statBlocks:
        facts.blocks512 +
        (facts.storage === 'inline' && facts.type === 'regular' ? Math.ceil(facts.sizeBytes / 512) : 0),
      times: [facts.atime, facts.ctime, facts.mtime].map(ours).join(' '),
      made: facts.crtime && ours(facts.crtime),
      content: await contentOf(filesystem, found),
    });
  }
  return sortedByPath(seen);
}

function hashFile(path: string, limitBytes = Infinity): string {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(MIB);
  const fd = openSync(path, 'r');
  try {
    let left = limitBytes;
    for (let got = readSync(fd, buffer); got > 0; got = readSync(fd, buffer)) {
      hash.update(buffer.subarray(0, Math.min(got, left)));
      left -= Math.min(got, left);
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

const NANO = 1_000_000_000n;
/** Rounds down, also before 1970. */
function kernelTime(nanoseconds: bigint): string {
  const rest = ((nanoseconds % NANO) + NANO) % NANO;
  return `${(nanoseconds - rest) / NANO}+${rest}`;
}

function kernelType(stats: BigIntStats): string {
  if (stats.isFile()) return 'regular';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isBlockDevice() ? 'block device' : 'character device';
}

/** @param folder where it is mounted */
export function seenByKernel(folder: string): Seen {
  const seen: Seen = new Map();
  const visit = (prefix: string): void => {
    for (const name of readdirSync(join(folder, prefix))) {
      const path = `${prefix}${name}`;
      const full = join(folder, path);
      const stats = lstatSync(full, { bigint: true });
      const type = kernelType(stats);
      const target = type === 'symlink' ? readlinkSync(full) : '';
      seen.set(path, {
        inode: Number(stats.ino),
        type,
        mode: Number(stats.mode & 0o7777n),
        owner: `${stats.uid}:${stats.gid}`,
        size: Number(stats.size),
        links: Number(stats.nlink),
        statBlocks: Number(stats.blocks),
        times: [stats.atimeNs, stats.ctimeNs, stats.mtimeNs].map(kernelTime).join(' '),
        made: kernelTime(stats.birthtimeNs),
        content: type === 'regular' ? hashFile(full) : target,
      });
      if (type === 'directory') visit(`${path}/`);
    }
  };
  visit('');
  return sortedByPath(seen);
}

const DEBUGFS_TYPES: Readonly<Record<string, string>> = { FIFO: 'fifo', 'bad type': 'unknown' };

/** As debugfs prints it: the field, and behind a colon the extra bits, both in hex. */
function debugfsTime(text: string, name: string): string | undefined {
  const match = new RegExp(`^ *${name}: 0x([0-9a-f]+)(?::([0-9a-f]+))? --`, 'm').exec(text);
  if (match === null) return undefined;
  const extra = BigInt(`0x${match[2] ?? '0'}`);
  const seconds = BigInt.asIntN(32, BigInt(`0x${match[1]}`)) + ((extra & 3n) << 32n);
  return `${seconds}+${extra >> 2n}`;
}

function debugfsFile(text: string, dumped: string): SeenFile {
  const word = (pattern: RegExp): string => {
    const found = pattern.exec(text)?.[1];
    if (found === undefined) throw new Error(`debugfs does not tell ${pattern.source}: ${text}`);
    return found;
  };
  const type = word(/Type: (bad type|\w+(?: special)?)/).replace(' special', ' device');
  // That of a link with blocks of its own is not told.
  const target = type === 'symlink' ? /^Fast link dest: "(.*)"$/m.exec(text)?.[1] : '';
  const size = Number(word(/Size: (\d+)/));
  const hasSize = ['directory', 'regular', 'symlink'].includes(type);
  return {
    inode: Number(word(/Inode: (\d+)/)),
    type: DEBUGFS_TYPES[type] ?? type,
    mode: parseInt(word(/Mode: +(\d+)/), 8),
    owner: `${word(/User: +(\d+)/)}:${word(/Group: +(\d+)/)}`,
    size: hasSize ? size : 0,
    links: Number(word(/Links: (\d+)/)),
    blocks: Number(word(/Blockcount: (\d+)/)),
    times: ['atime', 'ctime', 'mtime'].map((name) => debugfsTime(text, name)).join(' '),
    made: debugfsTime(text, 'crtime'),
    // Of a short file in its inode debugfs 1.47 dumps all 60 bytes that are there.
    content: type === 'regular' ? hashFile(dumped, size) : target,
  };
}

/** @param scratch a folder for what debugfs dumps */
export function seenByDebugfs(imagePath: string, scratch: string): Seen {
  const inodes = new Map<string, string>();
  let folders: ReadonlyArray<readonly [prefix: string, inode: string]> = [['', '2']];
  while (folders.length > 0) {
    const listings = answers(
      imagePath,
      folders.map(([, inode]) => `ls -p <${inode}>`),
    );
    folders = listings.flatMap((listing, index) =>
      listing.split('\n').flatMap((line) => {
        const [, inode = '', mode = '', , , name = ''] = line.split('/');
        if (inode === '' || inode === '0' || name === '.' || name === '..') return [];
        const path = `${folders[index]?.[0]}${name}`;
        inodes.set(path, inode);
        return mode.startsWith('04') ? [[`${path}/`, inode] as const] : [];
      }),
    );
  }
  const entries = [...inodes];
  const texts = answers(
    imagePath,
    entries.map(([, inode]) => `stat <${inode}>`),
  );
  const dumps = join(scratch, 'dumps');
  mkdirSync(dumps);
  const regular = entries.filter((_entry, index) => /Type: regular/.test(texts[index] ?? ''));
  answers(
    imagePath,
    regular.map(([, inode]) => `dump <${inode}> ${dumps}/${inode}`),
  );
  const seen: Seen = new Map();
  for (const [index, [path, inode]] of entries.entries()) {
    seen.set(path, debugfsFile(texts[index] ?? '', join(dumps, inode)));
  }
  rmSync(dumps, { recursive: true });
  return sortedByPath(seen);
}

/** What one reader tells of whatever the other one tells, too. */
export function comparable(seen: Seen, other: Seen): Record<string, Partial<SeenFile>> {
  return Object.fromEntries(
    [...seen].map(([path, file]) => {
      const theirs: Partial<Record<string, unknown>> = { ...other.get(path) };
      const known = Object.entries(file).filter(([name]) => theirs[name] !== undefined);
      return [path, Object.fromEntries(known.filter(([, value]) => value !== undefined))];
    }),
  );
}
