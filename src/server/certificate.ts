import { X509Certificate, createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { invariant } from '../errors.js';

/** What a server shows: certificate first, then what stands above it; and its key. */
export interface CertificatePair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface SelfSignedOptions {
  /** Host names and IP addresses, at least one; the first is the subject. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

const DAY_MILLISECONDS = 24 * 3600 * 1000;
/** Clients whose clock is behind. */
const DAYS_BEFORE = 1;
/** With the day before still under 825, beyond which some clients refuse (Apple, HT210176). */
const DAYS_AFTER = 820;

/** Too short for renewing by hand: a server that starts with so little left makes a new one. */
export const RENEW_DAYS = 30;

/** In an X.500 name; RFC 5280, A.1 ub-common-name. */
const MAX_COMMON_NAME = 64;

/** As nobody but the one who reads the log would choose. */
const ORGANISATION = 'patch-vdi';

/**
 * A certificate that a server signs itself: RSA 2048 with SHA-256, for servers only, no authority.
 *
 * RSA, because hosts of XenServer 7 and later speak TLS 1.2 with ECDHE-RSA suites and no others; 2048 bits, because
 * every client takes them and the key is made within a second.
 *
 * @param options.names as `isCertificateName` has them
 */
export async function selfSignedCertificate({ names, now }: SelfSignedOptions): Promise<CertificatePair> {
  invariant(names.length > 0, 'a certificate is for somebody');
  // Heavy, and needed once in two years.
  const { generate } = await import('selfsigned');
  const commonName = names.find((name) => name.length <= MAX_COMMON_NAME) ?? ORGANISATION;
  const altNames = names.map((value) =>
    isIP(value) === 0 ? ({ type: 2, value } as const) : ({ type: 7, ip: value } as const),
  );
  const made = await generate(
    [
      { name: 'commonName', value: commonName },
      { name: 'organizationName', value: ORGANISATION },
    ],
    {
      keyType: 'rsa',
      keySize: 2048,
      algorithm: 'sha256',
      notBeforeDate: new Date(now - DAYS_BEFORE * DAY_MILLISECONDS),
      notAfterDate: new Date(now + DAYS_AFTER * DAY_MILLISECONDS),
      extensions: [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
        { name: 'extKeyUsage', serverAuth: true },
        { name: 'subjectAltName', altNames },
      ],
    },
  );
  return { certificatePem: `${made.cert.trim()}\n`, keyPem: `${made.private.trim()}\n` };
}

/** SHA-256 of the certificate (the first one of a chain) as `openssl x509 -fingerprint -sha256` shows it: `AA:BB:…`. */
export function fingerprintOf(certificatePem: string): string {
  const digest = createHash('sha256').update(new X509Certificate(certificatePem).raw).digest('hex');
  return (digest.toUpperCase().match(/../g) ?? []).join(':');
}

/** Whole days until it ends, negative afterwards. @param now milliseconds since 1970 */
export function daysLeft(certificatePem: string, now: number): number {
  const end = Date.parse(new X509Certificate(certificatePem).validTo);
  return Math.floor((end - now) / DAY_MILLISECONDS);
}

/** Whether a client that wants `name` takes it. */
export function isCertificateFor(certificatePem: string, name: string): boolean {
  const certificate = new X509Certificate(certificatePem);
  // A name with a star stands there as it is; only names below it match.
  const wanted = name.replace(/^\*/, 'star');
  return (isIP(name) === 0 ? certificate.checkHost(wanted) : certificate.checkIP(name)) !== undefined;
}
