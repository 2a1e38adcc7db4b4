import { open } from 'node:fs/promises';
import { PatchVdiError } from '../errors.js';
import { untilAborted } from '../io/until-aborted.js';
import { passwordOfEnvironment } from './environment.js';
import { askPassword } from './ask-password.js';

/** Nobody's password is longer. */
const MAX_PASSWORD_BYTES = 4096;

const WAYS = '--password-file FILE, PATCH_VDI_PASSWORD in the environment, or a terminal to ask on';

/** @throws PatchVdiError `usage`, which never repeats any of it */
function checkPassword(bytes: Buffer, path: string): string {
  const refuse = (found: string): never => {
    throw new PatchVdiError('usage', 'the password file cannot be used', {
      context: { path, found, expected: 'one line with the password' },
    });
  };
  if (bytes.length > MAX_PASSWORD_BYTES) return refuse(`more than ${MAX_PASSWORD_BYTES} bytes`);
  const text = bytes.toString('utf8').replace(/\r?\n$/, '');
  if (text === '') return refuse('an empty file');
  if (!Buffer.from(text).equals(bytes.subarray(0, Buffer.byteLength(text)))) return refuse('no UTF-8');
  return /[\p{Cc}]/u.test(text) ? refuse('several lines, or control characters') : text;
}

async function readStdin(signal: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  const read = async (): Promise<void> => {
    for await (const part of process.stdin as AsyncIterable<Buffer>) {
      parts.push(part);
      bytes += part.length;
      if (bytes > MAX_PASSWORD_BYTES) return;
    }
  };
  await untilAborted(read(), signal);
  return Buffer.concat(parts);
}

async function readFileStart(path: string, warn: (words: string) => void): Promise<Buffer> {
  try {
    const file = await open(path, 'r');
    try {
      const stats = await file.stat();
      if (stats.isFile() && stats.mode % 0o100 !== 0) {
        warn(`${path} can be read by others than its owner: chmod 600 makes it private`);
      }
      const buffer = Buffer.alloc(MAX_PASSWORD_BYTES + 1);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
        length += bytesRead;
        if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new PatchVdiError('usage', 'the password file cannot be read', {
      context: { path, found: error instanceof Error ? error.message : String(error) },
      cause: error,
    });
  }
}

export interface PasswordRequest {
  /** `-` is standard input. */
  readonly file: string | undefined;
  /** What standard input is used for otherwise. */
  readonly stdinIsTaken: boolean;
  /** `root at https://host:8443`. */
  readonly whose: string;
  readonly signal: AbortSignal;
  readonly warn: (words: string) => void;
}

/**
 * The password, from a file, from the environment, or from the terminal.
 *
 * @throws PatchVdiError `usage` when there is none; the reason of the signal
 */
export async function readPassword({
  file,
  stdinIsTaken,
  whose,
  signal,
  warn,
}: PasswordRequest): Promise<string> {
  if (file === '-') {
    if (stdinIsTaken) {
      throw new PatchVdiError('usage', 'standard input cannot be both upload and password', {
        context: { found: '- twice', expected: 'one of them from a file' },
      });
    }
    return checkPassword(await readStdin(signal), 'standard input');
  }
  if (file !== undefined) return checkPassword(await readFileStart(file, warn), file);
  const password = passwordOfEnvironment();
  if (password !== undefined) return password;
  if (process.stdin.isTTY && process.stderr.isTTY && !stdinIsTaken) {
    return await askPassword(`Password of ${whose}: `, signal);
  }
  throw new PatchVdiError('usage', 'there is no password', {
    context: { found: 'no password file, no environment variable, no terminal', expected: WAYS },
  });
}

/** Why there is no such option: whoever tries it finds out here. @throws PatchVdiError `usage` */
export function refusePasswordOption(): never {
  throw new PatchVdiError('usage', 'a password is not taken from the command line', {
    context: { found: '--password', expected: WAYS },
    hint: 'everybody on this machine can read the arguments of a program, and the shell keeps them: change that password if it was a real one',
  });
}
