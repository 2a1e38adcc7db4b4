import { lstat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { readInputFile } from '../signature/input-file.js';
import type { ToolEnvironment } from '../tools/find.js';
import { gpgSigner } from './gpg-signer.js';
import { MAX_SECRET_FILE_BYTES, readSecretFile } from './secret-file.js';
import { testKeySigner, type PatchSigner } from './signer.js';

/** In a folder of `test key`: the transferable secret key, as OpenPGP packets. */
export const SECRET_FILE = 'secret.pgp';

const GPG_HOME_FILES = ['pubring.kbx', 'pubring.gpg'];

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    // Whatever else is wrong with it, reading it will say.
    return systemErrorCode(error) !== 'ENOENT' && systemErrorCode(error) !== 'ENOTDIR';
  }
}

export interface SignerOptions {
  readonly environment: ToolEnvironment;
  /** Unix seconds of the signature; default: when a test key was made, the clock for any other key. */
  readonly signedAt?: number | undefined;
  readonly abortSignal?: AbortSignal | undefined;
}

/**
 * The signer of a folder: the key of a folder that `test key` made (read and used in this process, so that signatures
 * are reproducible), or the default key of any other gpg home (gpg signs). The caller disposes of it.
 *
 * @throws PatchVdiError `usage`, `tool`
 */
export async function openSigner(folder: string, options: SignerOptions): Promise<PatchSigner> {
  const { environment, signedAt, abortSignal } = options;
  const home = resolve(folder);
  const secretPath = join(home, SECRET_FILE);
  if (await isThere(secretPath)) {
    const bytes = await readInputFile(secretPath, 'the secret key', MAX_SECRET_FILE_BYTES);
    return testKeySigner(readSecretFile(bytes, secretPath), signedAt);
  }
  const known = await Promise.all(GPG_HOME_FILES.map((name) => isThere(join(home, name))));
  if (known.includes(true)) return gpgSigner(signedAt, { environment, homeFolder: home, abortSignal });
  throw new PatchVdiError('usage', 'there is no key to sign with', {
    context: {
      operation: 'open the signing key',
      path: folder,
      found: `none of ${[SECRET_FILE, ...GPG_HOME_FILES].join(', ')}`,
      expected: 'a folder made by patch-vdi test key, or the home of a gpg',
    },
    hint: `make one: patch-vdi test key -o ${folder}`,
  });
}
