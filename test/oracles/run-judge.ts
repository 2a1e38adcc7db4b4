import { spawnSync } from 'node:child_process';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';

export interface JudgeResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const TIME_LIMIT_MILLISECONDS = 60_000;

/** Runs somebody else's program to its end, in the C locale, without our wrapper: judges share no code with us. */
export function runJudge(program: string, args: readonly string[], input = ''): JudgeResult {
  const path = findProgram(program, DEFAULT_SEARCH_PATH);
  if (path === undefined) throw new Error(`${program} is not installed: call requireTool first`);
  const { error, status, stdout, stderr } = spawnSync(path, args, {
    encoding: 'utf8',
    env: { PATH: DEFAULT_SEARCH_PATH.join(':'), LC_ALL: 'C', TZ: 'UTC' },
    input,
    maxBuffer: MAX_OUTPUT_BYTES,
    timeout: TIME_LIMIT_MILLISECONDS,
  });
  if (error !== undefined) throw error;
  return { exitCode: status, stdout, stderr };
}

/** The error of a judge that did not agree, with all of its words. */
export function verdictAgainst(program: string, subject: string, result: JudgeResult): Error {
  const words = `${result.stdout}${result.stderr}`.trim();
  return new Error(`${program} on ${subject} (exit ${result.exitCode}): ${words}`);
}
