import { runJudge, verdictAgainst } from './run-judge.js';

/** What e2fsck prints about a file system it has nothing to say about. */
const HARMLESS_LINE = /^$|^Pass [1-5]: |: \d+\/\d+ files \(/;

/**
 * @param imagePath an ext file system from byte 0; it is not changed
 * @throws Error with e2fsck's words unless `e2fsck -fn` exits 0 and finds nothing at all to say
 */
export function clean(imagePath: string): void {
  judge(imagePath, []);
}

/**
 * The same by a copy of the superblock, in blocks of 4 KiB. Such a copy is never marked clean; that is all that e2fsck
 * may say.
 */
export function cleanByCopy(imagePath: string, superblock: number): void {
  judge(imagePath, ['-b', String(superblock), '-B', '4096']);
}

function judge(imagePath: string, options: readonly string[]): void {
  const result = runJudge('e2fsck', ['-fn', ...options, imagePath]);
  const remarks = result.stdout.split('\n').filter((line) => !HARMLESS_LINE.test(line));
  if (result.exitCode !== 0 || remarks.length > 0) throw verdictAgainst('e2fsck', imagePath, result);
}
