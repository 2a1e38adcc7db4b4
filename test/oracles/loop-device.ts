import { existsSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { requireRoot, requireTool, unavailable, type Skippable } from './require-tool.js';
import { runJudge, verdictAgainst } from './run-judge.js';

/** Whether this machine lets us make block devices out of files. */
export function requireLoopDevices(context: Skippable): void {
  requireTool(context, 'losetup');
  requireRoot(context);
  if (!existsSync('/dev/loop-control')) unavailable(context, 'this kernel has no loop devices');
}

/** Ours. A device that we have given back may be somebody else's by now, and must not be detached again. */
const attached = new Set<string>();

/**
 * A block device in front of a file, until the running test ends or `detachLoop`.
 *
 * @param options of losetup, such as `--read-only`
 * @returns its path
 */
export function attachLoop(file: string, ...options: readonly string[]): string {
  const made = runJudge('losetup', ['--find', '--show', ...options, file]);
  if (made.exitCode !== 0) throw verdictAgainst('losetup', file, made);
  const device = made.stdout.trim();
  attached.add(device);
  onTestFinished(() => detachLoop(device));
  return device;
}

export function detachLoop(device: string): void {
  if (attached.delete(device)) runJudge('losetup', ['--detach', device]);
}
