import { closeSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { change } from './debugfs.js';
import { runJudge, verdictAgainst } from './run-judge.js';

/** Makes a sparse file of that size. */
export function createSparse(path: string, sizeBytes: number): string {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

/** Named one by one, so that the host's configuration does not matter. */
const SAMPLE_FEATURES =
  'none,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,extra_isize,metadata_csum';

/** An ext file system that mke2fs made without any help of ours. */
export function formatSample(path: string, sizeBytes: number, ...options: readonly string[]): string {
  createSparse(path, sizeBytes);
  const result = runJudge('mke2fs', [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-b',
    '4096',
    '-O',
    SAMPLE_FEATURES,
    ...options,
    path,
  ]);
  if (result.exitCode !== 0) throw verdictAgainst('mke2fs', path, result);
  return path;
}

/** An image that holds these bytes as `patch`, made by mke2fs and debugfs alone: what the judges are tried on. */
export function sampleImage(folder: string, payload: Uint8Array): string {
  const image = formatSample(join(folder, 'sample.raw'), 16 * 1024 * 1024, '-L', 'sample');
  const payloadPath = join(folder, 'sample.payload');
  writeFileSync(payloadPath, payload);
  change(image, `write ${payloadPath} patch`);
  return image;
}

/** Bytes of a file at an offset. */
export function readAt(path: string, offset: number, length: number): Buffer {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
  } finally {
    closeSync(fd);
  }
}

/** Overwrites a file in place. */
export function writeAt(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(fd);
  }
}

/** The smallest damage there is. */
export function flipByte(path: string, offset: number): void {
  writeAt(path, offset, Uint8Array.of((readAt(path, offset, 1)[0] ?? 0) ^ 0xff));
}
