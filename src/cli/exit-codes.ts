import type { ErrorKind } from '../errors.js';

/** The exit code of each kind of error (design, "Errors"); the README documents the same table. */
const EXIT_CODES: Readonly<Record<Exclude<ErrorKind, 'interrupted'>, number>> = {
  usage: 2,
  signature: 3,
  upload: 4,
  space: 5,
  image: 6,
  tool: 7,
  sink: 8,
};

/** `diff` has found a difference, as diff(1) says it: no error. */
export const EXIT_DIFFERENT = 1;

/** A defect of this program, which no kind describes. */
export const EXIT_DEFECT = 70;

/** Signals that stop a build, and the exit codes a shell expects for them: 128 + number. */
export const STOP_SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof STOP_SIGNALS;

/** @param stoppedBy the signal that came, if any: it decides, whatever error it led to */
export function exitCodeFor(kind: ErrorKind, stoppedBy: StopSignal | undefined): number {
  if (stoppedBy !== undefined) return STOP_SIGNALS[stoppedBy];
  return kind === 'interrupted' ? STOP_SIGNALS.SIGINT : EXIT_CODES[kind];
}

/** Every exit code with its meaning, for the help and the manual page; the README documents the same. */
export const EXIT_MEANINGS: readonly (readonly [number, string])[] = [
  [0, 'all went well'],
  [EXIT_DIFFERENT, 'diff, build --reproduce: they differ; apply: precheck says no, or applied'],
  [EXIT_CODES.usage, 'usage: options, or inputs that cannot be used'],
  [EXIT_CODES.signature, 'signature: missing, wrong, or not by an accepted key'],
  [EXIT_CODES.upload, 'upload: it broke off, or is not what was announced'],
  [EXIT_CODES.space, 'space: something does not fit, or a disk is full'],
  [EXIT_CODES.image, 'image: it is damaged, or not what it should be'],
  [EXIT_CODES.tool, 'tool: a program that is needed is missing, too old, or has failed'],
  [EXIT_CODES.sink, 'sink: what was written to, or talked to, does not take it'],
  [EXIT_DEFECT, 'a defect of this program'],
  [STOP_SIGNALS.SIGHUP, 'stopped by SIGHUP'],
  [STOP_SIGNALS.SIGINT, 'stopped by SIGINT (Ctrl-C)'],
  [STOP_SIGNALS.SIGTERM, 'stopped by SIGTERM'],
];
