import type { Command } from 'commander';
import type { VerifyOption } from '../build/options.js';
import { PatchVdiError } from '../errors.js';
import type { SignaturePolicy } from '../signature/policy.js';
import { collect } from './source-options.js';

/** Options of every command that checks a signature, as commander hands them over. */
export interface RawSignatureOptions {
  readonly keyring?: readonly string[];
  readonly signer?: readonly string[];
  readonly signature?: string;
  readonly allowWeakDigest?: boolean;
  readonly allowExpiredKey?: boolean;
}

/** Of a command that takes signed messages only. */
export function addKeyringOptions(command: Command): Command {
  return command
    .option(
      '--keyring <file>',
      'public keys: a file (binary, armoured, keybox) or a gpg home folder (repeatable)',
      collect,
    )
    .option(
      '--signer <fingerprint>',
      'full fingerprint that must have signed (repeatable: one of them)',
      collect,
    );
}

export function addLeniencyOptions(command: Command): Command {
  return command
    .option('--allow-weak-digest', 'accept SHA-1 and RIPEMD-160 signatures')
    .option('--allow-expired-key', 'accept a signature of a key that has expired');
}

export function addSignatureOptions(command: Command): Command {
  return addLeniencyOptions(
    addKeyringOptions(command).option('--signature <file>', 'a detached signature of the upload'),
  );
}

/**
 * Who may have signed, or undefined when no keyring was given.
 *
 * @throws PatchVdiError `usage` for options that mean nothing without a keyring
 */
export function signaturePolicy(raw: RawSignatureOptions): SignaturePolicy | undefined {
  const needsKeyring = [
    ['--signer', raw.signer],
    ['--signature', raw.signature],
    ['--allow-weak-digest', raw.allowWeakDigest],
    ['--allow-expired-key', raw.allowExpiredKey],
  ] as const;
  const lonely = needsKeyring.find(([, value]) => value !== undefined)?.[0];
  if (raw.keyring === undefined && lonely !== undefined) {
    throw new PatchVdiError('usage', `${lonely} needs a keyring`, {
      context: { found: `${lonely} without --keyring`, expected: '--keyring FILE beside it' },
    });
  }
  if (raw.keyring === undefined) return undefined;
  return {
    keyrings: raw.keyring,
    ...(raw.signer === undefined ? {} : { signers: raw.signer }),
    ...(raw.signature === undefined ? {} : { detachedSignature: raw.signature }),
    ...(raw.allowWeakDigest === undefined ? {} : { allowWeakDigest: raw.allowWeakDigest }),
    ...(raw.allowExpiredKey === undefined ? {} : { allowExpiredKey: raw.allowExpiredKey }),
  };
}

/** Options of a command that builds an image: what must hold before it is sealed. */
export interface RawVerifyOptions extends RawSignatureOptions {
  readonly allowUnsigned?: boolean;
  readonly allowSha256?: string;
}

export function addVerifyOptions(command: Command): Command {
  return addSignatureOptions(command)
    .option('--allow-unsigned', 'build without any verification')
    .option('--allow-sha256 <hex>', 'the upload must have this SHA-256');
}

/** @throws PatchVdiError `usage` */
export function verifyOption(raw: RawVerifyOptions): VerifyOption {
  const signature = signaturePolicy(raw);
  return {
    ...(signature === undefined ? {} : { signature }),
    ...(raw.allowSha256 === undefined ? {} : { sha256: raw.allowSha256 }),
    ...(raw.allowUnsigned === undefined ? {} : { unsigned: raw.allowUnsigned }),
  };
}
