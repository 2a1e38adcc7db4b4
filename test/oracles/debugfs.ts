import { runJudge, verdictAgainst } from './run-judge.js';

/** Runs commands of debugfs, reading only. It exits 0 whatever happened, so any word on stderr is an error. */
export function ask(imagePath: string, ...commands: readonly string[]): string {
  return run([], imagePath, commands);
}

/** Runs commands of debugfs that may write. */
export function change(imagePath: string, ...commands: readonly string[]): string {
  return run(['-w'], imagePath, commands);
}

function run(options: readonly string[], imagePath: string, commands: readonly string[]): string {
  const input = `${commands.join('\n')}\n`;
  const result = runJudge('debugfs', [...options, '-f', '-', imagePath], input);
  const remarks = result.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs 1.'));
  if (result.exitCode !== 0 || remarks.length > 0) throw verdictAgainst('debugfs', imagePath, result);
  // Each command is echoed before its answer.
  return result.stdout.replaceAll(/^debugfs: .*\n/gm, '');
}

/** As {@link ask}, with the answer to each command by itself. */
export function answers(imagePath: string, commands: readonly string[]): string[] {
  if (commands.length === 0) return [];
  const result = runJudge('debugfs', ['-f', '-', imagePath], `${commands.join('\n')}\n`);
  const remarks = result.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs 1.'));
  const [, ...parts] = `\n${result.stdout}`.split(/\ndebugfs: .*/);
  if (result.exitCode !== 0 || remarks.length > 0 || parts.length !== commands.length) {
    throw verdictAgainst('debugfs', imagePath, result);
  }
  return parts;
}

/** Copies a file of the image out, without a mount. */
export function dumpFile(imagePath: string, path: string, to: string): void {
  ask(imagePath, `dump ${path} ${to}`);
}

export interface FileStatus {
  readonly inode: number;
  readonly type: string;
  /** Permission bits as debugfs prints them, `0755`. */
  readonly mode: string;
  readonly user: number;
  readonly group: number;
  readonly size: number;
  readonly links: number;
  /** Units of 512 bytes. */
  readonly blockCount: number;
  readonly flags: number;
}

/** What `debugfs stat` says of a file. */
export function statFile(imagePath: string, path: string): FileStatus {
  const text = ask(imagePath, `stat ${path}`);
  const word = (name: string): string => {
    const found = new RegExp(`\\b${name}: +(\\S+)`).exec(text)?.[1];
    if (found === undefined) throw new Error(`debugfs does not tell ${name} of ${path}: ${text}`);
    return found;
  };
  return {
    inode: Number(word('Inode')),
    type: word('Type'),
    mode: word('Mode'),
    user: Number(word('User')),
    group: Number(word('Group')),
    size: Number(word('Size')),
    links: Number(word('Links')),
    blockCount: Number(word('Blockcount')),
    flags: Number(word('Flags')),
  };
}

export interface ListedExtent {
  readonly fileBlock: number;
  readonly fsBlock: number;
  readonly blockCount: number;
  readonly unwritten: boolean;
}

export interface ListedTree {
  /** Of the tree: 0 when the inode holds all extents. */
  readonly depth: number;
  readonly extents: readonly ListedExtent[];
  /** The blocks that hold the nodes below the root. */
  readonly treeBlocks: readonly number[];
}

/** One line of `dump_extents`: level/depth, entry/entries, file blocks, disk blocks (or a tree block), length, flags. */
const EXTENT_LINE = /^ *(\d+)\/ *(\d+) +\d+\/ *\d+ +(\d+) - +(\d+) +(\d+)(?: - +\d+)? +(\d+)(?: +(\w+))?$/;

/** What `debugfs dump_extents` says of a file. */
export function listExtents(imagePath: string, path: string): ListedTree {
  const extents: ListedExtent[] = [];
  const treeBlocks: number[] = [];
  let treeDepth = 0;
  const [, ...lines] = ask(imagePath, `dump_extents ${path}`).split('\n');
  for (const line of lines.filter((candidate) => candidate.trim() !== '')) {
    const match = EXTENT_LINE.exec(line.trimEnd());
    if (match === null) throw new Error(`a line of dump_extents that nobody understands: ${line}`);
    const [level = 0, depth = 0, fileBlock = 0, , fsBlock = 0, blockCount = 0] = match
      .slice(1, 7)
      .map(Number);
    treeDepth = depth;
    if (level < depth) treeBlocks.push(fsBlock);
    else extents.push({ fileBlock, fsBlock, blockCount, unwritten: match[7] === 'Uninit' });
  }
  return { depth: treeDepth, extents, treeBlocks };
}

export interface ListedBlocks {
  /** Runs of the file's own blocks, merged, in file order. */
  readonly extents: readonly ListedExtent[];
  /** Indirect blocks, in the order in which debugfs meets them. */
  readonly indirect: readonly number[];
}

/** What `debugfs stat` says of the blocks of a file without extents. */
export function listBlocks(imagePath: string, path: string): ListedBlocks {
  const text = ask(imagePath, `stat ${path}`);
  const list = /^BLOCKS:\n(.*)$/m.exec(text)?.[1] ?? '';
  const extents: ListedExtent[] = [];
  const indirect: number[] = [];
  for (const [, what = '', from = '', to = from] of list.matchAll(/\(([^)]+)\):(\d+)(?:-(\d+))?/g)) {
    if (/^[DT]?IND$/.test(what)) {
      indirect.push(Number(from));
      continue;
    }
    const fileBlock = Number(/^\d+/.exec(what)?.[0]);
    const piece = { fileBlock, fsBlock: Number(from), blockCount: Number(to) - Number(from) + 1 };
    const last = extents.at(-1);
    if (
      last !== undefined &&
      last.fileBlock + last.blockCount === fileBlock &&
      last.fsBlock + last.blockCount === piece.fsBlock
    ) {
      extents[extents.length - 1] = { ...last, blockCount: last.blockCount + piece.blockCount };
    } else extents.push({ ...piece, unwritten: false });
  }
  return { extents, indirect };
}
