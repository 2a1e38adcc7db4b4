import { PatchVdiError } from '../errors.js';
import { STOP_SIGNALS, type StopSignal } from './exit-codes.js';

/** Turns the signals that stop a program into an AbortSignal. */
export interface Interrupts {
  readonly signal: AbortSignal;
  /** The first signal that came. */
  readonly stoppedBy: StopSignal | undefined;
}

/** The first signal stops the build and lets it clean up; a second one ends the process at once. */
export function watchInterrupts(): Interrupts {
  const controller = new AbortController();
  let stoppedBy: StopSignal | undefined;
  for (const name of Object.keys(STOP_SIGNALS) as StopSignal[]) {
    process.on(name, () => {
      if (stoppedBy !== undefined) process.exit(STOP_SIGNALS[name]);
      stoppedBy = name;
      controller.abort(new PatchVdiError('interrupted', `stopped by ${name}`));
    });
  }
  return {
    signal: controller.signal,
    get stoppedBy() {
      return stoppedBy;
    },
  };
}
