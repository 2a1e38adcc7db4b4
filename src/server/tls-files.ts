import { X509Certificate, createPrivateKey } from 'node:crypto';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import {
  RENEW_DAYS,
  daysLeft,
  fingerprintOf,
  isCertificateFor,
  selfSignedCertificate,
  type CertificatePair,
} from './certificate.js';
import { readCarefully, writeWhole } from './private-file.js';

/** Key and certificate in one file, so that they always belong together (0600). */
export const PAIR_FILE = 'tls.pem';
/** The certificate alone, for `curl --cacert` and to be handed out. Only written, never read. */
export const CERTIFICATE_FILE = 'certificate.pem';

/** What a server needs for TLS. */
export interface TlsIdentity extends CertificatePair {
  /** SHA-256, `AA:BB:…`. */
  readonly fingerprint: string;
  /** Why there is a new certificate; undefined: there is none. Clients that know the old fingerprint will complain. */
  readonly renewed: 'first start' | 'it ends soon' | 'other names' | undefined;
}

function unusable(path: string, found: string, expected: string, hint?: string): PatchVdiError {
  return new PatchVdiError('usage', 'the server cannot use this certificate or key', {
    context: { operation: 'read the certificate', path, found, expected },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** @throws PatchVdiError `usage` when certificate and key do not belong together, or TLS does not take them */
function requirePair({ certificatePem, keyPem }: CertificatePair, path: string, keyPath: string): void {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(certificatePem);
  } catch {
    throw unusable(path, 'no certificate', 'a certificate in PEM form: -----BEGIN CERTIFICATE-----');
  }
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    const isLocked = /ENCRYPTED/.test(keyPem);
    throw unusable(
      keyPath,
      isLocked ? 'a key with a passphrase' : 'no private key',
      'a private key in PEM form without a passphrase',
      isLocked ? 'take the passphrase off: openssl pkey -in KEY -out NEW' : undefined,
    );
  }
  if (!fits) throw unusable(keyPath, 'the key of another certificate', 'the key of the certificate');
  try {
    createSecureContext({ cert: certificatePem, key: keyPem });
  } catch (error) {
    const words = error instanceof Error ? printable(error.message, 120) : 'an error of TLS';
    throw unusable(path, words, 'a certificate and key that TLS takes');
  }
}

/**
 * Those that somebody put into files.
 *
 * @throws PatchVdiError `usage` when one is missing, open to others, or no use
 */
export async function readTlsFiles(certificatePath: string, keyPath: string): Promise<TlsIdentity> {
  const certificatePem = await readCarefully(certificatePath, 'trusted');
  const keyPem = await readCarefully(keyPath, 'key');
  if (certificatePem === undefined) throw unusable(certificatePath, 'no such file', 'a certificate');
  if (keyPem === undefined) throw unusable(keyPath, 'no such file', 'a private key');
  const pair = { certificatePem, keyPem };
  requirePair(pair, certificatePath, keyPath);
  return { ...pair, fingerprint: fingerprintOf(certificatePem), renewed: undefined };
}

/** The two parts of our own file. */
function splitPair(text: string): CertificatePair | undefined {
  const parts =
    /^(-----BEGIN PRIVATE KEY-----\n[^]*?-----END PRIVATE KEY-----\n)(-----BEGIN CERTIFICATE-----\n[^]*)$/;
  const [, keyPem, certificatePem] = parts.exec(text) ?? [];
  return keyPem === undefined || certificatePem === undefined ? undefined : { keyPem, certificatePem };
}

function reasonToRenew(pair: CertificatePair, names: readonly string[], now: number): TlsIdentity['renewed'] {
  if (daysLeft(pair.certificatePem, now) < RENEW_DAYS) return 'it ends soon';
  return names.every((name) => isCertificateFor(pair.certificatePem, name)) ? undefined : 'other names';
}

/**
 * The certificate of the state folder; a new one, with a new key, when there is none, when it ends within 30 days, or
 * when it is not for one of the names. Whoever calls holds the lock of the state.
 *
 * @param now milliseconds since 1970
 * @throws PatchVdiError `usage` when others may read the key or the file is no use, `space` | `sink`
 */
export async function ownCertificate(
  stateFolder: string,
  names: readonly string[],
  now: number,
): Promise<TlsIdentity> {
  const path = join(stateFolder, PAIR_FILE);
  const text = await readCarefully(path, 'secret');
  const found = text === undefined ? undefined : splitPair(text);
  if (text !== undefined && found === undefined) {
    throw unusable(
      path,
      'another text',
      'a key and a certificate',
      'remove it: the next start makes a new one',
    );
  }
  if (found !== undefined) requirePair(found, path, path);
  const renewed = found === undefined ? 'first start' : reasonToRenew(found, names, now);
  const pair =
    found !== undefined && renewed === undefined ? found : await selfSignedCertificate({ names, now });
  if (renewed !== undefined) await writeWhole(path, `${pair.keyPem}${pair.certificatePem}`, 0o600);
  const copyPath = join(stateFolder, CERTIFICATE_FILE);
  const copy = await readCarefully(copyPath, 'trusted');
  if (copy !== pair.certificatePem) await writeWhole(copyPath, pair.certificatePem, 0o644);
  return { ...pair, fingerprint: fingerprintOf(pair.certificatePem), renewed };
}
