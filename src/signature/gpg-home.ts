import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '../errors.js';
import { trace } from '../trace.js';
import { complaintsAbout } from './complaint.js';
import { readInputFile } from './input-file.js';
import { isOpenPgpKeybox } from './keybox.js';

/** A keyring that was read whole; `path` is for messages. */
export interface KeyringFile {
  readonly path: string;
  readonly bytes: Buffer;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    // Whoever reads it says what is wrong.
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    return true;
  }
}

/**
 * Reads the keyring that the user named: a file, or the one that gpg itself would use in a home folder, such as a
 * host's /opt/xensource/gpg. Nothing but these files is opened there, only for reading, and without gpg's locks: the
 * folder may be somebody else's or read-only.
 *
 * With both files in a home, gpg takes `pubring.kbx` when the keybox is marked as its own, else `pubring.gpg`
 * (GnuPG, g10/keydb.c); to use the other one, name that file.
 *
 * @throws PatchVdiError `usage`
 */
export async function readKeyring(path: string, limitBytes: number): Promise<KeyringFile> {
  const read = async (file: string): Promise<KeyringFile> => {
    return { path: file, bytes: await readInputFile(file, 'the keyring', limitBytes) };
  };
  if (!(await isFolder(path))) return await read(path);

  const [kbxPath, legacyPath] = [join(path, 'pubring.kbx'), join(path, 'pubring.gpg')];
  const [hasKbx, hasLegacy] = [await exists(kbxPath), await exists(legacyPath)];
  if (!hasKbx && !hasLegacy) {
    throw complaintsAbout(
      'usage',
      'read the keyring',
      path,
    )('the folder is not the home of a gpg', {
      found: 'neither pubring.kbx nor pubring.gpg',
      expected: 'one of them, as in ~/.gnupg or /opt/xensource/gpg',
      hint: 'name the keyring file itself, or the folder that holds it',
    });
  }
  const kbx = hasKbx ? await read(kbxPath) : undefined;
  const chosen =
    kbx !== undefined && (!hasLegacy || isOpenPgpKeybox(kbx.bytes)) ? kbx : await read(legacyPath);
  trace('signature', () => `keyring ${chosen.path}`);
  return chosen;
}
