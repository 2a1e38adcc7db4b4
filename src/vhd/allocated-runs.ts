import type { BlockTable } from './block-table.js';
import type { DiskRun } from './vhd-disk.js';

/** Blocks in use that are next to each other on the disk as one run, cut at the end of the disk. */
export function* tableRuns(table: BlockTable, diskBytes: number): Generator<DiskRun> {
  const { blockBytes, entries } = table;
  let first: number | undefined;
  for (let block = 0; block <= entries.length; block += 1) {
    const isUsed = block < entries.length && !table.isUnused(block);
    if (isUsed) {
      first ??= block;
    } else if (first !== undefined) {
      const offset = first * blockBytes;
      yield { offset, length: Math.min(block * blockBytes, diskBytes) - offset };
      first = undefined;
    }
  }
}

/** The next run of one of two ascending iterators, whichever starts first. */
function* inOrder(one: Iterable<DiskRun>, other: Iterable<DiskRun>): Generator<DiskRun> {
  const [left, right] = [one[Symbol.iterator](), other[Symbol.iterator]()];
  let [a, b] = [left.next(), right.next()];
  while (a.done !== true || b.done !== true) {
    if (b.done === true || (a.done !== true && a.value.offset <= b.value.offset)) {
      if (a.done !== true) yield a.value;
      a = left.next();
    } else {
      yield b.value;
      b = right.next();
    }
  }
}

/** Both as one, each ascending: runs that touch or overlap are merged, what is past the end of the disk is cut off. */
export function* mergeRuns(
  one: Iterable<DiskRun>,
  other: Iterable<DiskRun>,
  diskBytes: number,
): Generator<DiskRun> {
  let start = 0;
  let end = 0;
  for (const { offset, length } of inOrder(one, other)) {
    if (offset >= diskBytes) break;
    if (offset > end) {
      if (end > start) yield { offset: start, length: end - start };
      start = offset;
    }
    end = Math.min(diskBytes, Math.max(end, offset + length));
  }
  if (end > start) yield { offset: start, length: end - start };
}
