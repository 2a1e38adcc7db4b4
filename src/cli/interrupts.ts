import { PatchVdiError } from '../errors.js';
import { EXIT_DEFECT, STOP_SIGNALS, type StopSignal } from './exit-codes.js';

/** Turns the signals that stop a program into an AbortSignal. */
export interface Interrupts {
  readonly signal: AbortSignal;
  /** The first signal that came. */
  readonly stoppedBy: StopSignal | undefined;
  /** The first error that nobody has caught: the build is stopped and cleans up, then this is to be reported. */
  readonly defect: Error | undefined;
}

/** How long a build may take to clean up after an error that nobody has caught. */
const LAST_RESORT_MILLISECONDS = 10_000;

/** What was made until then stays: of an upload perhaps a whole VDI. */
const STOPPED_AT_ONCE =
  'patch-vdi: stopped by a second signal: nothing was cleaned up; after an upload to a pool, patch-vdi pool vdis shows a VDI that is left\n';

/** The first signal stops the build and lets it clean up; a second one ends the process at once. */
export function watchInterrupts(): Interrupts {
  const controller = new AbortController();
  let stoppedBy: StopSignal | undefined;
  for (const name of Object.keys(STOP_SIGNALS) as StopSignal[]) {
    process.on(name, () => {
      if (stoppedBy !== undefined) {
        process.stderr.write(STOPPED_AT_ONCE);
        process.exit(STOP_SIGNALS[name]);
      }
      stoppedBy = name;
      controller.abort(new PatchVdiError('interrupted', `stopped by ${name}`));
    });
  }
  let defect: Error | undefined;
  process.on('uncaughtException', (error) => {
    if (defect !== undefined) return;
    defect = error;
    controller.abort(error);
    setTimeout(() => process.exit(EXIT_DEFECT), LAST_RESORT_MILLISECONDS).unref();
  });
  return {
    get defect() {
      return defect;
    },
    signal: controller.signal,
    get stoppedBy() {
      return stoppedBy;
    },
  };
}
