/* Images that mke2fs and the kernel make, each another one for each seed. */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  lchownSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { KIB, MIB } from '../../src/units.js';
import { withWritableMount } from '../oracles/kernel-mount.js';
import { runJudge, verdictAgainst } from '../oracles/run-judge.js';
import { createSparse } from '../oracles/sample-image.js';

/** Numbers from a seed (mulberry32), so that a test that fails can be run again. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to `end` - 1. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * end);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** A kind of file system: mke2fs' arguments. */
function kindOf(dice: Dice): string[] {
  const features = ['none', 'filetype', 'sparse_super', 'large_file', 'ext_attr'];
  const add = (percent: number, ...names: readonly string[]): boolean => {
    const chosen = dice.chance(percent);
    if (chosen) features.push(...names);
    return chosen;
  };
  const blockBytes = dice.pick([KIB, 2 * KIB, 4 * KIB]);
  const inodeBytes = dice.pick([128, 256, 256, 512, 1024].filter((size) => size <= blockBytes));
  add(80, 'dir_index');
  add(50, 'has_journal');
  add(50, 'huge_file');
  add(50, 'dir_nlink');
  if (inodeBytes > 128) add(80, 'extra_isize');
  add(50, 'resize_inode');
  if (add(75, 'extent')) {
    add(50, '64bit');
    add(50, 'flex_bg');
  }
  if (add(70, 'metadata_csum')) add(30, 'metadata_csum_seed');
  if (inodeBytes > 128) add(50, 'inline_data', 'extra_isize');
  add(30, 'large_dir');
  const args = ['-b', String(blockBytes), '-I', String(inodeBytes), '-N', '4000', '-m', '0'];
  return [...args, '-O', [...new Set(features)].join(',')];
}

const SIZES = [0, 1, 59, 60, 61, 100, 159, 160, 161, 1023, 1024, 4095, 4096, 4097, 50_000];
const SECONDS = [-2_000_000_000, -1, 0, 1, 1_700_000_000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 3 * 2 ** 32];

function nameOf(dice: Dice, index: number): string {
  const stem = dice.pick(['f', 'file-', 'größe-', 'with space ', '補丁', '%s$HOME']);
  return `${stem}${index}${dice.chance(10) ? 'n'.repeat(200) : ''}`;
}

/** A file with holes, unwritten parts and pieces all over the disk. */
function oddFile(dice: Dice, path: string): void {
  const blockBytes = dice.pick([KIB, 4 * KIB, 8 * KIB]);
  const fd = openSync(path, 'w');
  const pieces = dice.pick([1, 5, 60, 900]);
  const spread = dice.pick([pieces * 2, pieces * 2, 30_000]);
  for (let turn = 0; turn < pieces; turn += 1) {
    const at = (spread === 30_000 ? dice.below(spread) : 2 * turn) * blockBytes;
    writeSync(fd, Buffer.alloc(1 + dice.below(blockBytes), 1 + dice.below(255)), 0, undefined, at);
  }
  if (dice.chance(40)) ftruncateSync(fd, dice.below(spread * blockBytes));
  closeSync(fd);
  // Not with block maps; then the file stays as it is.
  if (dice.chance(50)) runJudge('fallocate', ['-o', '100000', '-l', '300000', path]);
  if (dice.chance(30)) runJudge('fallocate', ['-n', '-o', '9000000', '-l', '100000', path]);
  if (dice.chance(50)) runJudge('fallocate', ['-p', '-o', '5000', '-l', '70000', path]);
}

function setFacts(dice: Dice, path: string): void {
  lchownSync(path, dice.pick([0, 1000, 65_535, 70_000, 4_000_000]), dice.pick([0, 7, 65_536, 100_000]));
  chmodSync(path, dice.pick([0o644, 0o600, 0o755, 0o4755, 0o1777, 0o000]));
  const fraction = dice.pick([0, 0.25, 0.123456]);
  utimesSync(path, dice.pick(SECONDS) + fraction, dice.pick(SECONDS) + fraction);
}

function fill(dice: Dice, root: string): void {
  const folders = [root];
  const fileCount = 20 + dice.below(60);
  const files: string[] = [];
  for (let index = 0; index < fileCount; index += 1) {
    const path = join(dice.pick(folders), nameOf(dice, index));
    const roll = dice.below(100);
    if (roll < 15) {
      mkdirSync(path);
      folders.push(path);
    } else if (roll < 25) {
      symlinkSync('t'.repeat(dice.pick([1, 10, 58, 59, 60, 61, 100, 900])), path);
      lutimesSync(path, dice.pick(SECONDS), dice.pick(SECONDS));
      continue;
    } else if (roll < 30) {
      const made = runJudge('mknod', [path, ...dice.pick([['p'], ['c', '5', '300'], ['b', '300', '70000']])]);
      if (made.exitCode !== 0) throw verdictAgainst('mknod', path, made);
    } else if (roll < 35 && files.length > 0) {
      linkSync(dice.pick(files), path);
      continue;
    } else {
      if (dice.chance(20)) oddFile(dice, path);
      else writeFileSync(path, Buffer.alloc(dice.pick(SIZES), 1 + dice.below(255)));
      files.push(path);
    }
    setFacts(dice, path);
    if (dice.chance(10)) for (const gone of files.splice(dice.below(files.length), 1)) rmSync(gone);
  }
  const many = dice.pick([3, 200, 900, 900]);
  const crowd = join(root, 'crowd');
  mkdirSync(crowd);
  const names = Array.from({ length: many }, (_, index) => join(crowd, nameOf(dice, index)));
  for (const name of names) writeFileSync(name, '');
  for (const name of names) if (dice.chance(30)) rmSync(name);
}

/** @returns how it was made, for messages */
export async function makeRandomImage(path: string, seed: number): Promise<string> {
  const dice = new Dice(seed);
  const args = kindOf(dice);
  createSparse(path, 64 * MIB);
  const made = runJudge('mke2fs', ['-q', '-F', '-t', 'ext4', ...args, path]);
  if (made.exitCode !== 0) throw verdictAgainst('mke2fs', args.join(' '), made);
  await withWritableMount(path, (folder) => fill(dice, folder));
  return `seed ${seed}: mke2fs ${args.join(' ')}`;
}
