import { cp, lstat, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { PatchVdiError } from '../errors.js';
import type { ToolEnvironment } from '../tools/find.js';
import { importSecretKey, secretFingerprints, stopGpgDaemons, type GpgCall } from '../tools/gpg.js';
import { makePrivateFolder } from '../tools/private-folder.js';
import { armored } from './armored.js';
import { refuseExisting, writeError } from './new-folder.js';
import { SECRET_FILE } from './open-signer.js';
import { fingerprintText, publicKeyring, secretKeyring, type TestKey } from './test-key.js';

/** Names in a folder of `test key`, beside what gpg keeps there. */
export const KEY_FILES = {
  keyring: 'keyring.gpg',
  armored: 'key.asc',
  fingerprint: 'FINGERPRINT',
  secret: SECRET_FILE,
} as const;

export interface KeyFolderOptions {
  /** Must not exist. */
  readonly path: string;
  readonly key: TestKey;
  /** Counted from the key's creation; undefined: never. */
  readonly expiresAfterSeconds?: number | undefined;
  readonly environment: ToolEnvironment;
  readonly abortSignal?: AbortSignal | undefined;
}

const WHAT = 'the key folder';

/** What gpg keeps for a later call; sockets, locks and backups are not of that kind. */
async function isWorthKeeping(path: string): Promise<boolean> {
  const stats = await lstat(path);
  return (stats.isDirectory() || stats.isFile()) && !/~$|\.lock$|^\.#/.test(basename(path));
}

/** Has gpg import the key into a private home with a short path, and looks whether it has it. */
async function importIntoHome({ key, expiresAfterSeconds }: KeyFolderOptions, call: GpgCall): Promise<void> {
  const { homeFolder } = call;
  const fingerprint = fingerprintText(key);
  const secretPath = join(homeFolder, SECRET_FILE);
  const trustPath = join(homeFolder, '.#ownertrust');
  await writeFile(secretPath, secretKeyring(key, expiresAfterSeconds), { mode: 0o600 });
  await writeFile(trustPath, `${fingerprint}:6:\n`, { mode: 0o600 });
  try {
    await importSecretKey(secretPath, trustPath, call);
    const found = await secretFingerprints(call);
    if (found.join() !== fingerprint) {
      throw new PatchVdiError('tool', 'gpg did not import the test key', {
        context: {
          operation: 'import the test key',
          found: found.join() || 'no secret key',
          expected: fingerprint,
        },
      });
    }
  } finally {
    await stopGpgDaemons({ environment: call.environment, homeFolder });
  }
}

/**
 * Makes a folder that is a private GNUPGHOME with the key, and holds the key as files besides ({@link KEY_FILES}). It
 * gets its name when it is complete. For the same key and expiry, keyring, armoured key and fingerprint are the same
 * bytes; what gpg keeps for itself is not.
 *
 * @throws PatchVdiError `usage`, `tool`, `space`, `interrupted`; nothing is left behind then
 */
export async function makeKeyFolder(options: KeyFolderOptions): Promise<void> {
  const { key, expiresAfterSeconds, environment, abortSignal } = options;
  const path = resolve(options.path);
  const keyring = publicKeyring(key, expiresAfterSeconds);
  await refuseExisting(path, WHAT);
  const home = await makePrivateFolder(environment, 'gpg');
  let unfinished: string | undefined;
  try {
    unfinished = await mkdtemp(join(dirname(path), `.${basename(path)}.patch-vdi-`));
    await importIntoHome(options, { environment, homeFolder: home, abortSignal });
    await cp(home, unfinished, { recursive: true, filter: isWorthKeeping });
    await writeFile(join(unfinished, KEY_FILES.keyring), keyring);
    await writeFile(join(unfinished, KEY_FILES.armored), armored('PUBLIC KEY BLOCK', keyring));
    await writeFile(join(unfinished, KEY_FILES.fingerprint), `${fingerprintText(key)}\n`);
    await refuseExisting(path, WHAT);
    await rename(unfinished, path);
    unfinished = undefined;
  } catch (error) {
    throw writeError(options.path, WHAT, error);
  } finally {
    await rm(home, { recursive: true, force: true });
    if (unfinished !== undefined) await rm(unfinished, { recursive: true, force: true });
  }
}
