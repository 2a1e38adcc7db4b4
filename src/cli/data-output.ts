import { fstatSync, readFileSync, statSync } from 'node:fs';
import { PatchVdiError } from '../errors.js';

const ACCESS_MODES = 0b11;
const READ_AND_WRITE = 0b10;

/**
 * Whether standard output was closed (`>&-`). Node opens /dev/null in its place, for reading and writing, before
 * anything of ours runs; `> /dev/null` in a shell opens it for writing only. Programs that start others with their
 * "devnull" open it as Node does: with them it is as if it were closed.
 */
function stdoutWasClosed(): boolean {
  try {
    const output = fstatSync(1);
    if (!output.isCharacterDevice() || output.rdev !== statSync('/dev/null').rdev) return false;
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/1', 'latin1'))?.[1] ?? '';
    // The last octal digit has the access mode.
    return (Number(flags.at(-1)) & ACCESS_MODES) === READ_AND_WRITE;
  } catch {
    // Closed in some other way, or a system without /proc: writing will tell.
    return false;
  }
}

/**
 * For commands that write bytes, not words, to standard output when no output is named.
 *
 * @param output of the option; - is standard output
 * @param what `a patch`
 * @param named what else the user can do: `-o FILE`
 * @throws PatchVdiError `usage` for a terminal, `sink` when it is closed: the bytes would be lost without a word
 */
export function requireDataOutput(output: string, what: string): void {
  if (output !== '-') return;
  if (process.stdout.isTTY) {
    throw new PatchVdiError('usage', `${what} is not for a terminal`, {
      context: { found: 'standard output is a terminal', expected: 'a file, a pipe, or -o FILE' },
      hint: 'add -o FILE',
    });
  }
  if (!stdoutWasClosed()) return;
  throw new PatchVdiError('sink', `standard output is closed: ${what} would be lost`, {
    context: {
      found: 'a closed descriptor, or /dev/null in its place',
      expected: 'a file, a pipe, or -o FILE',
    },
    hint: 'add -o FILE; in a shell, > /dev/null throws it away on purpose',
  });
}
