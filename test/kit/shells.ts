import { spawnSync } from 'node:child_process';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';

/** The shells that a test patch must run under; those that this machine has. busybox is one where it is installed. */
export const SHELLS: readonly (readonly string[])[] = [
  ['dash'],
  ['bash'],
  ['bash', '--posix'],
  ['busybox', 'sh'],
  ['sh'],
].filter(([program = '']) => findProgram(program, DEFAULT_SEARCH_PATH) !== undefined);

export interface Ran {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script as a host does, in a small environment; the caller chooses the folder. */
export function runScript(
  shell: readonly string[],
  script: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Ran {
  const [program = 'sh', ...before] = shell;
  const ended = spawnSync(program, [...before, script, ...args], {
    encoding: 'utf8',
    cwd: options.cwd,
    env: { PATH: DEFAULT_SEARCH_PATH.join(':'), ...options.env },
    timeout: 60_000,
  });
  if (ended.error !== undefined) throw ended.error;
  return { exitCode: ended.status, stdout: ended.stdout, stderr: ended.stderr };
}
