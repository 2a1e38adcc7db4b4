import type { CommandContext } from '../../src/cli/program.js';

const NEVER = (): never => {
  throw new Error('nothing is run here');
};

/** For a command line that is only parsed. */
export const CONTEXT: CommandContext = {
  interrupts: { signal: new AbortController().signal, stoppedBy: undefined, defect: undefined },
  useJson: NEVER,
  printJson: NEVER,
  exitWith: NEVER,
  exitDifferent: NEVER,
};
