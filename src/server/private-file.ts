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
 * - `folder`: anybody may look into it, but nobody else may put anything there
 */
export type FileCare = 'secret' | 'key' | 'trusted' | 'folder';

const GROUP_AND_OTHERS = 0o077;
const OTHERS_AND_GROUP_WRITES = 0o037;
const OTHERS_WRITE = 0o002;
const GROUP_AND_OTHERS_WRITE = 0o022;

function forbiddenBits(care: FileCare, { uid }: Stats): number {
  if (care === 'trusted') return OTHERS_WRITE;
  if (care === 'folder') return GROUP_AND_OTHERS_WRITE;
  return care === 'key' && uid === 0 ? OTHERS_AND_GROUP_WRITES : GROUP_AND_OTHERS;
}

interface Advice {
  readonly message: string;
  readonly expected: string;
  readonly command: string;
}

const SECRET_ADVICE: Advice = {
  message: 'others may read a secret',
  expected: 'mode 0600',
  command: 'chmod 600',
};

const ADVICE: Readonly<Record<FileCare, Advice>> = {
  secret: SECRET_ADVICE,
  key: SECRET_ADVICE,
  trusted: {
    message: 'everybody may change the file',
    expected: 'a file that only its owner and group may write',
    command: 'chmod o-w',
  },
  folder: {
    message: 'others may change the folder',
    expected: 'a folder that only its owner may write',
    command: 'chmod go-w',
  },
};

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
  const { message, expected, command } = ADVICE[care];
  throw new PatchVdiError('usage', message, {
    context: { ...context, found: `mode ${octal(stats.mode)}`, expected },
    hint: `${command} ${path}`,
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

function newPathOf(path: string): string {
  return `${path}.new`;
}

/** Removes what a process that was killed in {@link writeWhole} left. */
export async function removeUnfinished(path: string): Promise<void> {
  await rm(newPathOf(path), { force: true });
}

/**
 * Replaces a file as a whole: it is the old one or the new one, also after kill -9 or a power failure. Only whoever
 * holds the state's lock may.
 *
 * @param mode 0600 for what others must not read
 * @throws PatchVdiError `space` | `sink`
 */
export async function writeWhole(path: string, text: string, mode: 0o600 | 0o644): Promise<void> {
  const newPath = newPathOf(path);
  try {
    await removeUnfinished(path);
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
    await removeUnfinished(path).catch(() => undefined);
    throw writeFailure(path, 0, error);
  }
}
