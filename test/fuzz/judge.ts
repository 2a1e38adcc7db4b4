import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { writeSpecifiedDisk } from './specified-disk.js';
import type { SparseBytes } from './sparse-bytes.js';

/** What somebody else's program reads of an image; `words` when it could not, or would not. */
export type Verdict = { readonly bytes: Buffer } | { readonly words: string };

const TIME_LIMIT_MILLISECONDS = 20_000;

function program(name: string): string {
  const path = findProgram(name, DEFAULT_SEARCH_PATH);
  if (path === undefined) throw new Error(`${name} is not installed: call requireTool first`);
  return path;
}

function run(command: string, args: readonly string[]): { exitCode: number | null; words: string } {
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { PATH: DEFAULT_SEARCH_PATH.join(':'), LC_ALL: 'C' },
    timeout: TIME_LIMIT_MILLISECONDS,
  });
  const words = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs 1.'));
  return { exitCode: status, words: [...words, ...(error === undefined ? [] : [error.message])].join('; ') };
}

/** The first `length` bytes of `/patch` as debugfs has them: `head` ends it, for a file may have holes of terabytes. */
function contentByDebugfs(imagePath: string, offsetBytes: number, length: number): Verdict {
  const out = `${imagePath}.content`;
  const script = '"$1" -R "cat /patch" "$2" 2>"$3.err" | head -c "$4" >"$3"; cat "$3.err" >&2';
  const place = offsetBytes === 0 ? imagePath : `${imagePath}?offset=${offsetBytes}`;
  const { words } = run('sh', ['-c', script, 'sh', program('debugfs'), place, out, String(length)]);
  try {
    return words === '' ? { bytes: readFileSync(out) } : { words };
  } finally {
    rmSync(out, { force: true });
    rmSync(`${out}.err`, { force: true });
  }
}

/** A VHD as a raw disk, by qemu-img. @returns undefined, or why it would not */
function rawByQemu(imagePath: string, rawPath: string): string | undefined {
  const options = ['convert', '-f', 'vpc', '-O', 'raw', imagePath, rawPath];
  const { exitCode, words } = run(program('qemu-img'), options);
  return exitCode === 0 ? undefined : words;
}

export interface JudgedImage {
  readonly format: 'raw' | 'vhd';
  /** Where the file system starts in the disk, in bytes. */
  readonly offsetBytes: number;
  /** qemu-img does not look at sector bitmaps (`openVhd`); where they matter, the specification tells what is read. */
  readonly bitmapsMatter: boolean;
}

/** What debugfs reads of the file in an image in memory; of a VHD, in the disk that qemu-img makes of it. */
export function judgeContent(
  image: SparseBytes,
  { format, offsetBytes, bitmapsMatter }: JudgedImage,
  length: number,
  folder: string,
): Verdict {
  const [path, rawPath] = [join(folder, 'judged'), join(folder, 'judged.raw')];
  if (format === 'vhd' && bitmapsMatter) writeSpecifiedDisk(image, path);
  else image.writeTo(path);
  try {
    if (format === 'raw' || bitmapsMatter) return contentByDebugfs(path, offsetBytes, length);
    const refused = rawByQemu(path, rawPath);
    return refused === undefined ? contentByDebugfs(rawPath, offsetBytes, length) : { words: refused };
  } finally {
    rmSync(path, { force: true });
    rmSync(rawPath, { force: true });
  }
}
