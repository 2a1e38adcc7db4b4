/* Everything that is to be the same, byte for byte, with every version of Node. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { run } from './nodes.mjs';

const EPOCH = ['--source-date-epoch', '1700000000'];

/** @returns {Map<string, string>} SHA-256 by path below `out` */
function digests(out) {
  const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).toSorted();
  const digestOf = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');
  return new Map(paths.map((path) => [relative(out, path), digestOf(path)]));
}

/** Images of every format and file system, and of the test kit. */
export function makeOutputs(program, env, out) {
  mkdirSync(out);
  const cli = (...args) => run(program, args, { cwd: out, env });
  writeFileSync(join(out, 'upload'), Buffer.alloc(5_000_001, 'a line of text\n'));
  for (const format of ['raw', 'vhd', 'vhd-fixed']) {
    for (const filesystem of ['ext4', 'ext3', 'ext2']) {
      const shape = ['--format', format, '--filesystem', filesystem];
      cli('build', 'upload', '-o', `${filesystem}.${format}`, ...shape, '--allow-unsigned', ...EPOCH);
    }
  }
  cli('test', 'vdi', '-o', 't.vhd', '--size', '5000001', '--seed', '7', ...EPOCH);
  cli('test', 'suite', '-o', 'suite', '--seed', '7');
  return digests(out);
}

/** Names of the files that two runs do not have in common, or that differ. */
export function differences(one, other) {
  const names = new Set([...one.keys(), ...other.keys()]);
  return [...names].filter((name) => one.get(name) !== other.get(name)).toSorted((a, b) => (a < b ? -1 : 1));
}
