import type { ExtFacts } from './ext-targets.js';
import { findExtTargets } from './ext-targets.js';
import { findPartitionTargets } from './partition-targets.js';
import { SparseBytes } from './sparse-bytes.js';
import { SwitchedBytes } from './switched-bytes.js';
import type { BytesIo, Target } from './target.js';
import { diskInside, findVhdTargets } from './vhd-targets.js';

/** A good image (or one that is refused for a known reason) to start from. */
export interface Base {
  readonly name: string;
  readonly format: 'raw' | 'vhd';
  /** Where the file system starts in the disk, in bytes. */
  readonly offsetBytes: number;
  readonly image: SparseBytes;
  /** What the targets work on. */
  readonly bytes: SwitchedBytes;
  readonly targets: readonly Target[];
  readonly kinds: readonly string[];
  /** Numbers that mean something in it. */
  readonly numbers: readonly number[];
  /** To turn offsets into block numbers. */
  readonly blockBytes: number;
  /** The parent of a differencing disk. */
  readonly parent: SparseBytes | undefined;
}

export interface BaseRequest {
  readonly name: string;
  readonly format: 'raw' | 'vhd';
  readonly bytes: Uint8Array;
  readonly offsetBytes?: number;
  readonly parent?: Uint8Array;
}

const shifted = (io: BytesIo, by: number): BytesIo => ({
  read: (offset, length) => io.read(offset + by, length),
  write: (offset, bytes) => io.write(offset + by, bytes),
});

/** Targets of kinds that matter most, and so are chosen more often. */
const WEIGHTS: Readonly<Record<string, number>> = {
  superblock: 3,
  descriptor: 2,
  'inode of patch': 4,
  'inode of root': 3,
  'folder block': 3,
  map: 5,
  attributes: 2,
  'inline data': 3,
  header: 3,
  BAT: 3,
  footer: 2,
};

/** Finds everything that can be hit in an image. */
export async function makeBase({ name, format, bytes, offsetBytes = 0, parent }: BaseRequest): Promise<Base> {
  const image = SparseBytes.of(bytes);
  const switched = new SwitchedBytes(image);
  const targets: Target[] = [];
  const numbers: number[] = [];
  let disk: BytesIo = switched;
  if (format === 'vhd') {
    const vhd = findVhdTargets(switched, bytes.length);
    targets.push(...vhd.targets);
    numbers.push(...vhd.numbers);
    if (vhd.places !== undefined) disk = diskInside(switched, vhd.places);
  }
  const ext: ExtFacts = await findExtTargets(shifted(disk, offsetBytes), bytes.length - offsetBytes);
  targets.push(...ext.targets);
  numbers.push(...ext.numbers, bytes.length);
  if (offsetBytes > 0) targets.push(...findPartitionTargets(switched));
  const kinds = [...new Set(targets.map(({ kind }) => kind))];
  return {
    name,
    format,
    offsetBytes,
    image,
    bytes: switched,
    targets,
    kinds: kinds.flatMap((kind) => Array.from({ length: WEIGHTS[kind] ?? 1 }, () => kind)),
    numbers: numbers.map((number) => Math.floor(number)),
    blockBytes: ext.numbers[2] ?? 4096,
    parent: parent === undefined ? undefined : SparseBytes.of(parent),
  };
}
