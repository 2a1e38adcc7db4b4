import { runJudge } from '../../oracles/run-judge.js';

/** cmp(1): undefined for equal files, else what differs. */
export function difference(left: string, right: string): string | undefined {
  const { exitCode, stdout, stderr } = runJudge('cmp', [left, right]);
  return exitCode === 0 ? undefined : `${stdout}${stderr}`;
}

/** Where bytes differ; for files of equal length that may differ in a few known places. */
export function differingOffsets(left: string, right: string): number[] {
  const { exitCode, stdout, stderr } = runJudge('cmp', ['-l', left, right]);
  if (exitCode === 0) return [];
  if (stderr !== '') throw new Error(stderr);
  return stdout
    .trim()
    .split('\n')
    .map((line) => Number(line.trim().split(/\s+/)[0]) - 1);
}
