import { X509Certificate } from 'node:crypto';
import { open } from 'node:fs/promises';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { MIB } from '../units.js';

/**
 * Whom to believe that he is the server: who has a certificate of an authority that this machine trusts (`system`), of
 * those in a file, or exactly a certificate with that SHA-256 (or one of several: each host of a pool has its own). The
 * name in a certificate counts in the first two cases; in the last one neither its name nor its dates do, because it is
 * the one that was meant.
 */
export type ServerTrust =
  | 'system'
  | { readonly caFile: string }
  | { readonly fingerprint: string | readonly string[] };

/** The same, ready for use. */
export type ReadyTrust =
  | { readonly kind: 'system' }
  | { readonly kind: 'authorities'; readonly pem: string; readonly file: string }
  | { readonly kind: 'certificate'; readonly sha256: string | readonly string[] };

const MAX_CA_BYTES = 4 * MIB;
const SHA256_HEX = /^[0-9a-f]{64}$/;

/**
 * A SHA-256 as openssl prints it, or without its colons; in lower-case hex.
 *
 * @throws PatchVdiError `usage`
 */
export function parseFingerprint(text: string): string {
  const hex = text
    .trim()
    .replace(/^(sha-?256)?( fingerprint)?[=:]\s*/i, '')
    .replaceAll(':', '')
    .toLowerCase();
  if (SHA256_HEX.test(hex)) return hex;
  throw new PatchVdiError('usage', 'the fingerprint cannot be used', {
    context: { found: printable(text, 100), expected: '64 hex digits, with colons or without: a SHA-256' },
    hint: 'openssl x509 -in certificate.pem -noout -fingerprint -sha256',
  });
}

/** As openssl prints it: upper case, with colons. */
export function fingerprintText(sha256: string): string {
  return sha256.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:');
}

/** SHA-256 of a certificate as it is on the wire, lower-case hex. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** The first certificate of a PEM file. @throws PatchVdiError `usage` */
export async function readCertificate(path: string): Promise<{ pem: string; first: X509Certificate }> {
  const refuse = (found: string, cause: unknown): PatchVdiError =>
    new PatchVdiError('usage', 'the certificate file cannot be used', {
      context: { path, found, expected: 'certificates in PEM form' },
      hint: 'a server of ours has its own in certificate.pem in its state folder',
      cause,
    });
  let pem: string;
  try {
    const file = await open(path, 'r');
    try {
      const buffer = Buffer.alloc(MAX_CA_BYTES);
      const { bytesRead } = await file.read(buffer, 0, MAX_CA_BYTES, 0);
      pem = buffer.toString('latin1', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error), error);
  }
  try {
    return { pem, first: new X509Certificate(pem) };
  } catch (error) {
    throw refuse('no certificate in PEM form', error);
  }
}

/** @throws PatchVdiError `usage` */
export async function readTrust(trust: ServerTrust): Promise<ReadyTrust> {
  if (trust === 'system') return { kind: 'system' };
  if ('fingerprint' in trust) {
    return { kind: 'certificate', sha256: [trust.fingerprint].flat().map(parseFingerprint) };
  }
  const { pem } = await readCertificate(trust.caFile);
  return { kind: 'authorities', pem, file: trust.caFile };
}
