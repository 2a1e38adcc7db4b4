import { OpenPgpBench, type BenchKey } from '../signature/openpgp-bench.js';
import { MIB, uploadBytes } from './uploads.js';

/** Keys of several kinds, made by the real gpg, and keyrings with them. Call `close` in the end. */
export interface SigningBench {
  readonly gpg: OpenPgpBench;
  readonly alice: BenchKey;
  readonly bob: BenchKey;
  readonly expired: BenchKey;
  readonly revoked: BenchKey;
  readonly stranger: BenchKey;
  /** Path of a keyring with all but the stranger. */
  readonly keyring: string;
  /** What gets signed: more than one VHD block. */
  readonly content: Buffer;
  /** A good message by Alice, uncompressed: the clear text lies in it as it is. */
  readonly plain: Buffer;
  /** A message signed before its key was revoked. */
  readonly byRevoked: Buffer;
  close(): void;
}

export function makeSigningBench(): SigningBench {
  const gpg = new OpenPgpBench();
  const alice = gpg.key('Alice <alice@example.org>');
  const bob = gpg.key('Bob <bob@example.org>', 'rsa2048');
  const expired = gpg.key('Expired <expired@example.org>', 'ed25519', '30d', '20200101T000000!');
  const revoked = gpg.key('Revoked <revoked@example.org>');
  const stranger = gpg.key('Stranger <stranger@example.org>');
  const content = uploadBytes(3 * MIB + 1001);
  const byRevoked = gpg.sign(content, [revoked]);
  gpg.revoke(revoked);
  return {
    gpg,
    alice,
    bob,
    expired,
    revoked,
    stranger,
    keyring: gpg.keyring([alice, bob, expired, revoked]),
    content,
    byRevoked,
    plain: gpg.sign(content, [alice], '-z', '0'),
    close: () => gpg.close(),
  };
}

/** A signature by a key in the years in which it was in force. */
export const IN_FORCE = ['--faked-system-time', '20200105T000000!'];
