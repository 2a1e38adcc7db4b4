import { constants, type Stats } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { getuid } from 'node:process';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { writeFailure } from '../io/system-errors.js';
import { syncFolder } from '../pool/store-folder.js';
import { MIB, describeBytes } from '../units.js';

/** No file of a server's set-up is larger. */
const MAX_BYTES = MIB;

/**
 * Who may have a hand in a file.
 *
 * - `secret`: nobody but its owner reads or writes it (mode 0600 or less)
 * - `key`: the same, or root's and read by a group (0640), as PostgreSQL and others have it for keys
 * - `trusted`: anybody may read it, but not everybody may write it
 */
export type FileCare = 'secret' | 'key' | 'trusted';

const GROUP_AND_OTHERS = 0o077;
const OTHERS_AND_GROUP_WRITES = 0o037;
const OTHERS_WRITE = 0o002;

function forbiddenBits(care: FileCare, { uid }: Stats): number {
  if (care === 'trusted') return OTHERS_WRITE;
  return care === 'key' && uid === 0 ? OTHERS_AND_GROUP_WRITES : GROUP_AND_OTHERS;
}

function octal(mode: number): string {
  return (mode % 0o1000).toString(8).padStart(4, '0');
}

/** @throws PatchVdiError `usage` that says which command puts it right */
export function requireCare(path: string, stats: Stats, care: FileCare): void {
  const me = getuid?.() ?? 0;
  const context = { operation: 'check who may use the file', path };
  if (stats.uid !== 0 && stats.uid !== me) {
    throw new PatchVdiError('usage', 'the file belongs to somebody else', {
      context: { ...context, found: `user ${stats.uid}`, expected: `user ${me} or root` },
      hint: `chown it to the user that the server runs as: chown ${me} ${path}`,
    });
  }
  const bits = forbiddenBits(care, stats);
  // Bits of a mode, nine of them: no sizes.
  // oxlint-disable-next-line no-bitwise -- a file mode
  if ((stats.mode & bits) === 0) return;
  const isSecret = care !== 'trusted';
  throw new PatchVdiError('usage', isSecret ? 'others may read a secret' : 'everybody may change the file', {
    context: {
      ...context,
      found: `mode ${octal(stats.mode)}`,
      expected: isSecret ? 'mode 0600' : 'a file that others cannot write',
    },
    hint: isSecret ? `chmod 600 ${path}` : `chmod o-w ${path}`,
  });
}

function cannotRead(path: string, cause: unknown): PatchVdiError {
  return new PatchVdiError('usage', 'a file cannot be read', {
    context: { operation: 'read', path, found: cause instanceof Error ? cause.message : String(cause) },
    cause,
  });
}

/** @throws PatchVdiError `usage` for anything but a regular file of at most 1 MiB */
async function readOpened(file: FileHandle, path: string, stats: Stats): Promise<string> {
  const refuse = (found: string, expected: string) =>
    new PatchVdiError('usage', 'a file cannot be used', { context: { path, found, expected } });
  if (!stats.isFile()) throw refuse('not a regular file', 'a regular file');
  if (stats.size > MAX_BYTES) {
    throw refuse(describeBytes(stats.size), `at most ${describeBytes(MAX_BYTES)}`);
  }
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  if (filled > MAX_BYTES) throw refuse('a file that grows', `at most ${describeBytes(MAX_BYTES)}`);
  return buffer.toString('utf8', 0, filled);
}

/**
 * The text of a file that only the right people have a hand in; what is checked is what is read.
 *
 * @returns undefined when there is none
 * @throws PatchVdiError `usage` when it cannot be read, is no regular file or too large, or is open to others
 */
export async function readCarefully(path: string, care: FileCare): Promise<string | undefined> {
  let file: FileHandle;
  try {
    // A FIFO would keep us waiting.
    file = await open(path, constants.O_RDONLY + constants.O_NONBLOCK);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw cannotRead(path, error);
  }
  try {
    const stats = await file.stat();
    const text = await readOpened(file, path, stats);
    requireCare(path, stats, care);
    return text;
  } catch (error) {
    throw error instanceof PatchVdiError ? error : cannotRead(path, error);
  } finally {
    await file.close();
  }
}

/**
 * Replaces a file as a whole: it is the old one or the new one, also after kill -9 or a power failure. Only whoever
 * holds the state's lock may.
 *
 * @param mode 0600 for what others must not read
 * @throws PatchVdiError `space` | `sink`
 */
export async function writeWhole(path: string, text: string, mode: 0o600 | 0o644): Promise<void> {
  const newPath = `${path}.new`;
  try {
    // Left by a process that was killed.
    await rm(newPath, { force: true });
    const file = await open(newPath, 'wx', mode);
    try {
      await file.writeFile(text);
      // Whatever the umask is.
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(newPath, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(newPath, { force: true }).catch(() => undefined);
    throw writeFailure(path, 0, error);
  }
}
