import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { CLI } from './cli.js';
import type { Workspace } from './workspace.js';

/** What happened on a terminal of 80 columns. */
export interface Session {
  /** Of the shell's last command. */
  readonly exitCode: number | null;
  /** Everything that was written to the terminal, control sequences too. */
  readonly output: string;
}

export interface TerminalRun {
  readonly ended: Promise<Session>;
  /** What has been written so far. */
  readonly output: () => string;
  /** As if typed. */
  readonly type: (keys: string) => void;
  /** As if the window was closed. */
  readonly hangUp: () => void;
}

/**
 * Runs shell commands on a terminal that script(1) makes. `patch-vdi` in them is the command line, in the workspace's
 * folder, with its TMPDIR.
 */
export function startOnTerminal(work: Workspace, commands: string): TerminalRun {
  const path = `${work.folder}/session.sh`;
  const lines = [
    'stty cols 80 rows 24',
    `patch_vdi() { '${process.execPath}' '${CLI}' "$@"; }`,
    commands.replaceAll('patch-vdi ', 'patch_vdi '),
  ];
  writeFileSync(path, `${lines.join('\n')}\n`);
  const child = spawn('script', ['-qec', `bash ${path}`, '/dev/null'], {
    cwd: work.folder,
    env: { PATH: process.env['PATH'], HOME: work.folder, TMPDIR: work.tmp, TERM: 'xterm', SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const output = (): string => Buffer.concat(chunks).toString('utf8');
  const ended = new Promise<Session>((done) =>
    child.once('close', (exitCode) => done({ exitCode, output: output() })),
  );
  return {
    ended,
    output,
    type: (keys) => void child.stdin.write(keys),
    hangUp: () => void child.kill('SIGKILL'),
  };
}

const ESC = '\u001b';
/** Cursor to the first column, as the bar does before it draws itself again. */
const TO_START = new RegExp(`${ESC}\\[[01]?G`, 'g');
const CONTROL_SEQUENCE = new RegExp(`${ESC}\\[[?0-9;]*[A-Za-z]|${ESC}[78]`, 'g');
export const SHOW_CURSOR = `${ESC}[?25h`;
export const HIDE_CURSOR = `${ESC}[?25l`;

/** The lines as a terminal would draw them, every state of a line that is drawn over again as a line of its own. */
export function drawnLines(output: string): string[] {
  return output
    .replaceAll(TO_START, '\r')
    .replaceAll(CONTROL_SEQUENCE, '')
    .split(/[\r\n]+/)
    .filter((line) => line !== '');
}
