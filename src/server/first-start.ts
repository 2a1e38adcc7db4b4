import { mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { writeFailure } from '../io/system-errors.js';
import type { FolderRepositoryOptions } from '../pool/folder-repository.js';
import { PoolError } from '../pool/pool-error.js';
import type { PatchPolicy } from '../pool/receive-patch.js';
import { lockState } from '../pool/state-lock.js';
import { VDI_CLONE } from '../pool/storage.js';
import { isWildcard } from './addresses.js';
import { daysLeft, RENEW_DAYS } from './certificate.js';
import { isCertificateName } from './certificate-names.js';
import { configuredUsers } from './config-users.js';
import { MEMBERSHIP_FILE } from './hosts/membership.js';
import { POOL_SECRET_FILE, poolSecret } from './hosts/pool-secret.js';
import { removeUnfinished, requireCare } from './private-file.js';
import { defaultServeConfig, type RepositoryConfig, type ServeConfig } from './serve-config.js';
import { REPOSITORIES_FILE, folderOptions, prepareRepositories } from './sr-folders.js';
import { CERTIFICATE_FILE, PAIR_FILE, ownCertificate, readTlsFiles, type TlsIdentity } from './tls-files.js';
import { USERS_FILE, openStoredUsers, resetStoredPassword, type StoredUsers } from './users-file.js';
import { KEYRING_FOLDER, prepareKeyrings } from './state-keyrings.js';
import { Users } from './users.js';

/*
 * What lies in the state folder beside the pool's own (journal, lock, patches, tmp):
 *
 *   users.json         accounts, when the configuration has none        (0600, users-file.ts)
 *   tls.pem            key and certificate, when it has none            (0600, tls-files.ts)
 *   pool-secret        what the keys of slaves are made of, of a master   (0600, hosts/pool-secret.ts)
 *   membership.json    whose slave this host is, if it is one             (0600, hosts/membership.ts)
 *   certificate.pem    the certificate alone, for clients               (0644)
 *   repositories.json  which SR lies where                              (0600, sr-folders.ts)
 *   keyrings/          *.gpg, *.asc, *.kbx: whose patches are taken     (0700)
 *   sr/                the SR, when the configuration has none          (0700)
 */

const SR_FOLDER = 'sr';

const OWN_FILES = [
  POOL_SECRET_FILE,
  MEMBERSHIP_FILE,
  USERS_FILE,
  PAIR_FILE,
  CERTIFICATE_FILE,
  REPOSITORIES_FILE,
];

export interface PrepareOptions {
  /** Made when it is not there (0700). */
  readonly stateFolder: string;
  /** Undefined: everything by default. */
  readonly config: ServeConfig | undefined;
  /** What the machine calls itself. */
  readonly hostName: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** It has no accounts of its own: clients ask the master. */
  readonly isSlave?: boolean | undefined;
  /** Its storage repositories are those of a real pool: no folder is made; {@link refuseFolders} says what may not be. */
  readonly hasRealPool?: boolean | undefined;
}

/** A configuration that has everything but users, who are in {@link PreparedServer.users}. */
export interface CompleteConfig extends Omit<ServeConfig, 'users' | 'host' | 'storageRepositories'> {
  readonly host: { readonly nameLabel: string; readonly address: string };
  readonly storageRepositories: readonly (RepositoryConfig & { readonly uuid: string })[];
}

export interface PreparedServer {
  /** Absolute. */
  readonly stateFolder: string;
  readonly config: CompleteConfig;
  /** A slave's knows nobody. */
  readonly users: Pick<Users, 'authenticate'>;
  /** For the keys of slaves; undefined for a slave, and without TLS, over which hosts talk. */
  readonly poolSecret: Buffer | undefined;
  /** Undefined: TLS is off. */
  readonly tls: TlsIdentity | undefined;
  /** Without keyrings no upload can be taken; a warning says so. */
  readonly policy: PatchPolicy;
  /** Root's new password, to be shown once. */
  readonly firstPassword: string | undefined;
  /**
   * To be called when {@link firstPassword} was shown, in any case before `openPool`: until then the state is locked,
   * and the next start makes a new password. Does nothing when there is none.
   */
  passwordShown(): Promise<void>;
  /** For `FolderRepository.open`: what had to be made was made. */
  readonly repositories: readonly FolderRepositoryOptions[];
  /** Undefined: the pool's stays as it is. */
  readonly defaultSrUuid: string | undefined;
  /** Sentences for whoever starts the server. */
  readonly warnings: readonly string[];
}

async function makeStateFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw writeFailure(folder, 0, cause);
  }
  // Readers see nothing: every file in it is closed to them.
  await requireStateFolder(folder);
}

async function requireStateFolder(folder: string): Promise<void> {
  try {
    requireCare(folder, await stat(folder), 'folder');
  } catch (cause) {
    if (cause instanceof PatchVdiError) throw cause;
    throw new PatchVdiError('usage', 'there is no state folder', {
      context: { path: folder, found: cause instanceof Error ? cause.message : String(cause) },
      hint: 'name the folder that the server was started with',
      cause,
    });
  }
}

/** What clients may call this server. */
function certificateNames({ listen, host, tls }: ServeConfig, hostName: string): string[] {
  if (tls.kind === 'self-signed' && tls.names !== undefined) return [...tls.names];
  const own = isWildcard(listen.address) ? [] : [listen.address];
  const names = [...(host.address === undefined ? [] : [host.address]), hostName, 'localhost'];
  return [...new Set([...names, ...own, '127.0.0.1', '::1'])].filter(isCertificateName);
}

async function prepareTls(
  stateFolder: string,
  config: ServeConfig,
  { hostName, now }: PrepareOptions,
): Promise<TlsIdentity | undefined> {
  if (config.tls.kind === 'off') return undefined;
  if (config.tls.kind === 'files') return await readTlsFiles(config.tls.certificatePath, config.tls.keyPath);
  return await ownCertificate(stateFolder, certificateNames(config, hostName), now());
}

function ownRepository(stateFolder: string): RepositoryConfig {
  return {
    nameLabel: 'Local storage',
    path: join(stateFolder, SR_FOLDER),
    uuid: undefined,
    isDefault: true,
    shared: false,
    capabilities: [VDI_CLONE],
    quotaBytes: undefined,
  };
}

/**
 * Beside a real pool: which of them would be the default, and what a patch may be copied to, could not be told.
 *
 * @throws PatchVdiError `usage`
 */
export function refuseFolders({ storageRepositories }: ServeConfig): void {
  const [first] = storageRepositories;
  if (first === undefined) return;
  throw new PatchVdiError('usage', 'storage repositories are either folders or those of a real pool', {
    context: {
      found: `storage_repositories in the configuration (${first.nameLabel}), and --pool`,
      expected: 'one of them',
    },
    hint: 'take storage_repositories out of the configuration: with --pool its SRs are those of that pool',
  });
}

function warningsAbout(
  stateFolder: string,
  policy: PatchPolicy,
  tls: TlsIdentity | undefined,
  now: number,
): string[] {
  const warnings: string[] = [];
  if (policy.keyrings.length === 0) {
    warnings.push(
      'no upload can be taken: there is no keyring to check signatures with. Put the public keys of those whose ' +
        `patches you trust into ${join(stateFolder, KEYRING_FOLDER)} (NAME.gpg or NAME.asc) and start again, or name ` +
        'them in the configuration (signature.keyrings)',
    );
  }
  const days = tls === undefined ? RENEW_DAYS : daysLeft(tls.certificatePem, now);
  if (days < 0) warnings.push('the certificate has ended: clients will refuse it');
  else if (days < RENEW_DAYS) warnings.push(`the certificate ends in ${days} days`);
  return warnings;
}

/**
 * Everything that a server needs before it listens: makes what is not there yet, and checks what is. It can be killed
 * at any moment: the next start goes on, and if nobody was told root's password there is a new one. Of several first
 * starts at a time one makes everything, and the others wait for it.
 *
 * @throws PatchVdiError `usage` when another server has the state, or a file is missing, no use or open to others;
 *   `image` when a file of the state is damaged; `space` | `sink`
 */
export async function prepareServer(options: PrepareOptions): Promise<PreparedServer> {
  const { hostName, now } = options;
  const stateFolder = resolve(options.stateFolder);
  const config = options.config ?? defaultServeConfig();
  if (options.hasRealPool === true) refuseFolders(config);
  await makeStateFolder(stateFolder);
  const lock = await lockState(stateFolder);
  try {
    for (const name of OWN_FILES) await removeUnfinished(join(stateFolder, name));
    const policy = await prepareKeyrings(stateFolder, config.signature);
    const tls = await prepareTls(stateFolder, config, options);
    const { storageRepositories: given } = config;
    const byDefault = options.hasRealPool === true ? [] : [ownRepository(stateFolder)];
    const wanted = given.length === 0 ? byDefault : given;
    const { repositories, warnings } = await prepareRepositories(stateFolder, wanted, now);
    const accounts = options.isSlave === true ? undefined : await prepareUsers(stateFolder, config);
    const secret = accounts === undefined || tls === undefined ? undefined : await poolSecret(stateFolder);
    const nameLabel = config.host.nameLabel ?? hostName;
    const address =
      config.host.address ?? (isWildcard(config.listen.address) ? hostName : config.listen.address);
    const { users: _users, ...rest } = config;
    const prepared = {
      stateFolder,
      config: { ...rest, host: { nameLabel, address }, storageRepositories: repositories },
      users: accounts?.users ?? { authenticate: nobody },
      poolSecret: secret,
      tls,
      policy,
      repositories: repositories.map((one) => folderOptions(one, now)),
      defaultSrUuid: repositories.find(({ isDefault }) => isDefault)?.uuid,
      warnings: [...warningsAbout(stateFolder, policy, tls, now()), ...warnings],
    };
    const shown = await shownOnce(accounts?.stored, () => lock.release());
    return { ...prepared, ...shown };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

// oxlint-disable-next-line require-await -- as that of users
async function nobody(): Promise<never> {
  throw new PoolError('SESSION_AUTHENTICATION_FAILED');
}

async function prepareUsers(
  stateFolder: string,
  config: ServeConfig,
): Promise<{ readonly stored: StoredUsers | undefined; readonly users: Users }> {
  const stored = config.users === undefined ? await openStoredUsers(stateFolder) : undefined;
  return { stored, users: Users.of(stored?.users ?? (await configuredUsers(config.users ?? []))) };
}

/** Keeps the lock while there is a password that nobody was told of. */
async function shownOnce(
  stored: StoredUsers | undefined,
  release: () => Promise<void>,
): Promise<Pick<PreparedServer, 'firstPassword' | 'passwordShown'>> {
  const { firstPassword } = stored ?? {};
  if (stored === undefined || firstPassword === undefined) {
    await release();
    return { firstPassword: undefined, passwordShown: async () => {} };
  }
  let done: Promise<void> | undefined;
  const passwordShown = (): Promise<void> => (done ??= stored.wasShown().finally(release));
  return { firstPassword, passwordShown };
}

/**
 * Gives a user of the state folder a new password: for one that was lost. The server must be stopped.
 *
 * @returns the password, to be shown once
 * @throws PatchVdiError `usage` when there is no such user, or the server runs; `image` | `space` | `sink`
 */
export async function resetPassword(stateFolder: string, name: string): Promise<string> {
  const folder = resolve(stateFolder);
  await requireStateFolder(folder);
  const lock = await lockState(folder);
  try {
    return await resetStoredPassword(folder, name);
  } finally {
    await lock.release();
  }
}
