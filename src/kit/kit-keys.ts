import { armored } from './armored.js';
import { concatBytes } from './packets.js';
import { seededBytes, type Seed } from './seed.js';
import { fingerprintText, makeTestKey, publicKeyring, type TestKey } from './test-key.js';

/**
 * The people of the test kit. `signer` is the key that `test key` makes with the same seed; `second` is trusted as
 * well; nobody trusts `stranger`; the key of `expired` was in force for a month.
 */
export const KEY_ROLES = ['signer', 'second', 'stranger', 'expired'] as const;

export type KeyRole = (typeof KEY_ROLES)[number];

/** The public keys of a kit, by file name. */
export const KEYRING_NAMES = {
  trusted: 'keyring.gpg',
  stranger: 'unknown-signer.gpg',
  expired: 'expired.gpg',
} as const;

export type KeyringName = (typeof KEYRING_NAMES)[keyof typeof KEYRING_NAMES];

const EXPIRES_AFTER_SECONDS = 31 * 24 * 60 * 60;

const USER_IDS: Readonly<Record<Exclude<KeyRole, 'signer'>, string>> = {
  second: 'patch-vdi test key, the second signer <second@patch-vdi.invalid>',
  stranger: 'patch-vdi test key that nobody trusts <stranger@patch-vdi.invalid>',
  expired: 'patch-vdi test key that has expired <expired@patch-vdi.invalid>',
};

/** The keys of a seed. Each is made when it is first asked for: it takes a moment. */
export class KitKeys {
  readonly #seed: Seed;
  readonly #createdAt: number | undefined;
  readonly #made = new Map<KeyRole, TestKey>();

  /** @param createdAt Unix seconds; default: that of every test key */
  constructor(seed: Seed, createdAt?: number) {
    this.#seed = seed;
    this.#createdAt = createdAt;
  }

  key(role: KeyRole): TestKey {
    const known = this.#made.get(role);
    if (known !== undefined) return known;
    const createdAt = this.#createdAt;
    const key =
      role === 'signer'
        ? makeTestKey({ seed: this.#seed, createdAt })
        : makeTestKey({ seed: this.#seedOf(role), userId: USER_IDS[role], createdAt });
    this.#made.set(role, key);
    return key;
  }

  #seedOf(role: KeyRole): Seed {
    return Buffer.from(seededBytes(this.#seed, `key of ${role}`, 32)).toString('hex');
  }

  /** Binary, as `--keyring` takes it. */
  keyring(name: KeyringName): Uint8Array {
    switch (name) {
      case 'keyring.gpg':
        return concatBytes(publicKeyring(this.key('signer')), publicKeyring(this.key('second')));
      case 'unknown-signer.gpg':
        return publicKeyring(this.key('stranger'));
      case 'expired.gpg':
        return publicKeyring(this.key('expired'), EXPIRES_AFTER_SECONDS);
    }
  }

  /** The same for people and programs that want text. */
  armoredKeyring(name: KeyringName): string {
    return armored('PUBLIC KEY BLOCK', this.keyring(name));
  }

  fingerprint(role: KeyRole): string {
    return fingerprintText(this.key(role));
  }
}
