import { runJudge, verdictAgainst } from './run-judge.js';

/** What e2fsck prints about a file system it has nothing to say about. */
const HARMLESS_LINE = /^$|^Pass [1-5]: |: \d+\/\d+ files \(/;

/**
 * @param imagePath an ext file system from byte 0; it is not changed
 * @throws Error with e2fsck's words unless `e2fsck -fn` exits 0 and finds nothing at all to say
 */
export function clean(imagePath: string): void {
  const result = runJudge('e2fsck', ['-fn', imagePath]);
  const remarks = result.stdout.split('\n').filter((line) => !HARMLESS_LINE.test(line));
  if (result.exitCode !== 0 || remarks.length > 0) throw verdictAgainst('e2fsck', imagePath, result);
}
