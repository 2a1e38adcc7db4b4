import { setImmediate } from 'node:timers/promises';
import { exitCodeFor, STOP_SIGNALS, type StopSignal } from './exit-codes.js';
import { visible } from './text.js';

let failure: Error | undefined;

/**
 * What happens when the words of this program cannot be written. (The image has its own way to standard output.)
 * A reader that has seen enough (`patch-vdi --help | head -1`) is no error; a standard output that is full is one;
 * and a terminal that is gone, or whoever closed standard error, must not end a build halfway.
 */
export function watchStandardStreams(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') failure ??= error;
  });
  process.stderr.on('error', () => undefined);
}

/**
 * Until the system has taken the words of this program: a pipe takes 64 KiB at once, and what Node still holds then,
 * `process.exit()` throws away. A reader may be as slow as it likes; a signal ends the wait, and the program.
 */
export async function wordsTaken(): Promise<void> {
  for (const name of Object.keys(STOP_SIGNALS) as StopSignal[]) {
    process.once(name, () => process.exit(STOP_SIGNALS[name]));
  }
  const taken = (stream: NodeJS.WriteStream): Promise<void> =>
    new Promise((done) => {
      if (stream.writableLength === 0) done();
      // Its turn comes after all that waits; or with an error, which has its own way out.
      else stream.write('', () => done());
    });
  await Promise.all([taken(process.stdout), taken(process.stderr)]);
}

/** The exit code of a command that has succeeded but for its words on standard output: 0 when they were written. */
export async function lostOutput(): Promise<number> {
  // The error of a write comes in a later turn of the event loop.
  await setImmediate();
  if (failure === undefined) return 0;
  process.stderr.write(`patch-vdi: standard output could not be written: ${visible(failure.message)}\n`);
  return exitCodeFor('sink', undefined);
}
