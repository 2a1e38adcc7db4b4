import { runJudge, verdictAgainst } from './run-judge.js';

/** The superblock as `dumpe2fs -h` prints it: its words for the fields, its words for the values. */
export function superblockFields(imagePath: string): ReadonlyMap<string, string> {
  const result = runJudge('dumpe2fs', ['-h', imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  const fields = new Map<string, string>();
  for (const line of result.stdout.split('\n')) {
    const match = /^([^:]+): *(.*)$/.exec(line);
    if (match !== null) fields.set(match[1] ?? '', match[2] ?? '');
  }
  return fields;
}

/** One field, which must be there. */
export function superblockField(imagePath: string, name: string): string {
  const value = superblockFields(imagePath).get(name);
  if (value === undefined) throw new Error(`dumpe2fs has no field "${name}" for ${imagePath}`);
  return value;
}

/** Where the backups of the superblock are, in blocks of the file system. */
export function backupsOf(imagePath: string): {
  readonly blockBytes: number;
  readonly blocks: readonly number[];
} {
  const result = runJudge('dumpe2fs', [imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  const blocks = [...result.stdout.matchAll(/Backup superblock at (\d+)/g)].map((match) => Number(match[1]));
  return { blockBytes: Number(superblockField(imagePath, 'Block size')), blocks };
}

/** The free blocks of a file system, as ranges of its blocks, both ends included. */
export function freeBlocksOf(imagePath: string): readonly (readonly [first: number, last: number])[] {
  const result = runJudge('dumpe2fs', [imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  return [...result.stdout.matchAll(/^ {2}Free blocks: (.*)$/gm)].flatMap((match) =>
    (match[1] ?? '')
      .split(', ')
      .filter((range) => range !== '')
      .map((range) => {
        const [first = 0, last = first] = range.split('-').map(Number);
        return [first, last] as const;
      }),
  );
}

/** Blocks from the first to the last, both included. */
export type ListedRange = readonly [first: number, last: number];

export interface ListedGroup {
  readonly index: number;
  readonly blocks: ListedRange;
  /** The block of its superblock, if it has one. */
  readonly superblock: number | undefined;
  readonly descriptors: ListedRange | undefined;
  readonly reserved: ListedRange | undefined;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: ListedRange;
  /** Clusters, with `bigalloc`. */
  readonly freeBlockCount: number;
  readonly freeInodeCount: number;
  readonly directoryCount: number;
  readonly unusedInodeCount: number;
  /** `INODE_UNINIT`, `BLOCK_UNINIT`, `ITABLE_ZEROED`. */
  readonly flags: readonly string[];
  /** What the checksum of the descriptor should be, if it is not. */
  readonly expectedChecksum: string | undefined;
  /** Free blocks as the bitmap has them. */
  readonly free: readonly ListedRange[];
}

/** The groups as dumpe2fs lists them. */
export function groupsOf(imagePath: string): readonly ListedGroup[] {
  const result = runJudge('dumpe2fs', [imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  const texts = result.stdout.split(/^(?=Group \d+: )/m).slice(1);
  return texts.map((text) => parseGroup(text));
}

function parseGroup(text: string): ListedGroup {
  const range = (pattern: RegExp): ListedRange | undefined => {
    const match = pattern.exec(text);
    if (match === null) return undefined;
    return [Number(match[1]), Number(match[2] ?? match[1])];
  };
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  const required = (pattern: RegExp): ListedRange => {
    const found = range(pattern);
    if (found === undefined) throw new Error(`dumpe2fs lists no ${String(pattern)} in ${text}`);
    return found;
  };
  const free = /^ {2}Free blocks: (.*)$/m.exec(text)?.[1] ?? '';
  return {
    index: number(/^Group (\d+):/),
    blocks: required(/\(Blocks (\d+)-(\d+)\)/),
    superblock: range(/(?:Primary|Backup) superblock at (\d+)/)?.[0],
    descriptors: range(/Group descriptors? at (\d+)(?:-(\d+))?/),
    reserved: range(/Reserved GDT blocks at (\d+)(?:-(\d+))?/),
    blockBitmap: required(/Block bitmap at (\d+)/)[0],
    inodeBitmap: required(/Inode bitmap at (\d+)/)[0],
    inodeTable: required(/Inode table at (\d+)(?:-(\d+))?/),
    freeBlockCount: number(/(\d+) free (?:blocks|clusters),/),
    freeInodeCount: number(/(\d+) free inodes/),
    directoryCount: number(/(\d+) directories/),
    unusedInodeCount: number(/(\d+) unused inodes/),
    flags: (/^Group .*\[(.*)\]$/m.exec(text)?.[1] ?? '').split(', ').filter((flag) => flag !== ''),
    expectedChecksum: /\(EXPECTED (0x[0-9a-f]+)\)/.exec(text)?.[1],
    free: free
      .split(', ')
      .filter((piece) => piece !== '')
      .map((piece) => {
        const [first = 0, last = first] = piece.split('-').map(Number);
        return [first, last] as const;
      }),
  };
}
