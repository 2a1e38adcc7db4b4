import { PatchVdiError } from '../errors.js';
import { printable } from './printable.js';

/** Who may have signed, and what is let pass. */
export interface SignaturePolicy {
  /** Paths of keyring files, binary or armoured; at least one. */
  readonly keyrings: readonly string[];
  /** Full fingerprints of primary keys: at least one valid signature must come from one of them. */
  readonly signers?: readonly string[];
  /** Path; without it the upload itself must be a binary signed message. */
  readonly detachedSignature?: string;
  /** Lets SHA-1 and RIPEMD-160 pass, which old hotfixes were signed with. MD5 never passes. */
  readonly allowWeakDigest?: boolean;
  /** Lets signatures pass whose key has expired since. */
  readonly allowExpiredKey?: boolean;
}

/**
 * A fingerprint as people write it (40 or 64 hex digits, spaces allowed) in gpgv's form: upper case, no spaces.
 *
 * @throws PatchVdiError `usage` for anything else; short key ids can be forged, so they pin nobody
 */
export function normalFingerprint(text: string): string {
  const digits = text.replaceAll(' ', '').toUpperCase();
  if (/^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(digits)) return digits;
  throw new PatchVdiError('usage', 'a signer is not given by a full fingerprint', {
    context: {
      operation: 'read the signature policy',
      found: `"${printable(text, 100)}"`,
      expected: '40 hexadecimal digits (64 for version 5 keys); spaces are allowed',
    },
    hint: 'gpg --fingerprint KEY shows it; short key ids can be forged',
  });
}

/**
 * The checks that need no file and no program.
 *
 * @throws PatchVdiError `usage`
 */
export function validatePolicy(policy: SignaturePolicy): void {
  const refuse = (message: string, found: string, expected: string) =>
    new PatchVdiError('usage', message, {
      context: { operation: 'read the signature policy', found, expected },
    });
  if (policy.keyrings.length === 0) {
    throw refuse('no keyring to check the signature with', 'no keyring', 'one keyring file or more');
  }
  if (policy.keyrings.includes('') || policy.detachedSignature === '') {
    throw refuse('an empty path in the signature policy', '""', 'the path of a file');
  }
  if (policy.signers?.length === 0) {
    throw refuse('an empty list of signers', 'no signer', 'at least one fingerprint, or no list at all');
  }
  for (const signer of policy.signers ?? []) normalFingerprint(signer);
}

/**
 * Whether a clear text can be asked for.
 *
 * @param path where it shall go, undefined when nobody wants it
 * @throws PatchVdiError `usage`
 */
export function validateClearText(policy: SignaturePolicy, path: string | undefined): void {
  if (path === undefined) return;
  const refuse = (message: string, found: string, expected: string) =>
    new PatchVdiError('usage', message, { context: { operation: 'write the clear text', found, expected } });
  if (path === '') throw refuse('an empty path for the clear text', '""', 'the path of a new file');
  if (policy.detachedSignature === undefined) return;
  throw refuse(
    'a detached signature has no clear text of its own',
    'a detached signature',
    'a signed message: with a detached signature the upload itself is what was signed',
  );
}
