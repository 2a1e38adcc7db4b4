import { PatchVdiError } from '../errors.js';
import { parseStatus, type JudgementLine, type StatusLine, type ValidLine } from '../tools/gpgv.js';
import { toolFailure, type ToolResult } from '../tools/run.js';
import { UPLOAD_NAME, complaintsAbout } from './complaint.js';
import { isPlaintextLine, requirePlaintext } from './plaintext-status.js';
import { normalFingerprint, type SignaturePolicy } from './policy.js';
import { printable } from './printable.js';

/** One good signature. */
export interface VerifiedSignature {
  /** Upper-case hex. */
  readonly primaryFingerprint: string;
  /** The primary key's or a subkey's. */
  readonly signingFingerprint: string;
  /** The primary user id of the key in the keyring, made printable. */
  readonly userId: string;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly hashAlgorithm: string;
  /** SHA-1 or RIPEMD-160, let pass by the policy. */
  readonly weakDigest: boolean;
  /** Let pass by the policy. */
  readonly expiredKey: boolean;
}

export interface Verdict {
  /** At least one, in the order of the message. */
  readonly signatures: readonly VerifiedSignature[];
}

/** RFC 4880 §9.4. MD5 (1) is weak beyond what any policy may allow; gpgv refuses it as well (measured: ERRSIG, code 5). */
const HASH_ALGORITHMS: Readonly<Record<number, { readonly name: string; readonly weak: boolean }>> = {
  2: { name: 'SHA1', weak: true },
  3: { name: 'RIPEMD160', weak: true },
  8: { name: 'SHA256', weak: false },
  9: { name: 'SHA384', weak: false },
  10: { name: 'SHA512', weak: false },
  11: { name: 'SHA224', weak: false },
};

/**
 * Lines that go with a good signature and change nothing. KEYEXPIRED is one of them: it is printed for any expired
 * part of a key, and EXPKEYSIG says whether it matters (GnuPG, doc/DETAILS).
 */
const HARMLESS_LINES: readonly string[] = [
  'KEY_CONSIDERED',
  'KEYEXPIRED',
  'NOTATION_DATA',
  'NOTATION_FLAGS',
  'NOTATION_NAME',
  'POLICY_URL',
  'SIG_ID',
  'VERIFICATION_COMPLIANCE_MODE',
];

const complain = complaintsAbout('signature', 'check the signature', UPLOAD_NAME);

/** What gpgv said between one NEWSIG and the next. */
interface SignatureReport {
  judgement: JudgementLine | undefined;
  valid: ValidLine | undefined;
}

/**
 * Judges what gpgv said, after it has exited: GOODSIG alone proves nothing, it comes before NODATA for trailing
 * bytes, and the exit code alone neither: it is 0 for expired and for revoked keys (measured).
 *
 * | measured with gpgv 2.2.40  | exit | status |
 * | ---                        | ---  | ---    |
 * | good                       | 0    | GOODSIG VALIDSIG |
 * | expired key                | 0    | KEYEXPIRED EXPKEYSIG VALIDSIG |
 * | revoked key                | 0    | REVKEYSIG VALIDSIG |
 * | changed content            | 1    | BADSIG |
 * | key not in the keyring     | 2    | ERRSIG (code 9) NO_PUBKEY |
 * | MD5                        | 2    | ERRSIG (code 5) |
 *
 * @param signaturesSeen how many signatures the container has: as many must be valid
 * @param clearTextBytes when gpgv was to write the clear text: how long it is by our own count
 * @throws PatchVdiError `signature`; `tool` when gpgv was killed or failed without a word about signatures
 */
export function judge(
  result: ToolResult,
  signaturesSeen: number,
  policy: SignaturePolicy,
  clearTextBytes?: number,
): Verdict {
  const words = { ...result, stdout: printable(result.stdout), stderr: printable(result.stderr, 2000) };
  if (result.signal !== undefined) throw toolFailure('gpgv', 'check the signature', words);
  const lines = parseStatus(result.stdout);
  for (const line of lines) {
    if (clearTextBytes === undefined || !isPlaintextLine(line)) refuseBadLine(line, policy);
  }
  if (result.exitCode !== 0) {
    if (lines.length === 0) throw toolFailure('gpgv', 'check the signature', words);
    throw complain('gpgv does not vouch for the signature', {
      found: `exit code ${result.exitCode}: ${words.stderr}`,
      expected: 'exit code 0',
    });
  }
  if (clearTextBytes !== undefined) requirePlaintext(lines, clearTextBytes, complain);
  const signatures = collectReports(lines).map((report) => verifiedSignature(report, policy));
  if (signatures.length === 0 || signatures.length !== signaturesSeen) {
    throw complain('not every signature is valid', {
      found: `${signatures.length} valid`,
      expected: `${Math.max(1, signaturesSeen)} valid`,
    });
  }
  requirePinnedSigner(signatures, policy);
  return { signatures };
}

function refuseBadLine(line: StatusLine, policy: SignaturePolicy): void {
  switch (line.keyword) {
    case 'GOODSIG':
    case 'VALIDSIG':
      return;
    case 'BADSIG':
      throw complain(`BAD signature: this is not what ${signer(line)} signed`, {
        found: 'content or signature changed after signing',
        expected: 'a good signature',
      });
    case 'ERRSIG':
      throw uncheckedSignature(line.keyId, line.reason, line.hashAlgorithm);
    case 'EXPSIG':
      throw complain(`the signature by ${signer(line)} has expired`, {
        expected: 'a signature that is in force',
      });
    case 'EXPKEYSIG':
      if (policy.allowExpiredKey === true) return;
      throw complain(`the key of ${signer(line)} has expired`, {
        found: 'an expired key',
        expected: 'a key that is in force',
        hint: 'get the renewed key, or allow expired keys (--allow-expired-key) if you trust this one',
      });
    case 'REVKEYSIG':
      throw complain(`the key of ${signer(line)} was revoked`, {
        found: 'a revoked key',
        expected: 'a key that is in force',
      });
    case 'other':
      if (line.name === 'NEWSIG' || HARMLESS_LINES.includes(line.name)) return;
      throw complain(line.name === 'NODATA' ? 'gpgv finds no signed data' : 'gpgv reports a problem', {
        found: printable(`${line.name} ${line.text}`.trim()),
        expected: 'nothing but a good signature',
      });
    default: {
      const never: never = line;
      return never;
    }
  }
}

function signer(line: JudgementLine): string {
  return `"${printable(line.userId)}" (key ${printable(line.keyId, 64)})`;
}

/** The reasons are those of ERRSIG in GnuPG's doc/DETAILS, and libgpg-error codes. */
function uncheckedSignature(keyId: string, reason: number, hashAlgorithm: number): PatchVdiError {
  if (reason === 9) {
    return complain(`signed by key ${printable(keyId, 64)}, which is not in the keyring`, {
      found: 'a signature by an unknown key',
      expected: 'a key of the keyring',
      hint: 'give the keyring that holds the key, if you trust it',
    });
  }
  const weak = hashAlgorithm === 1;
  return complain(weak ? 'the signature uses MD5' : 'the signature cannot be checked', {
    found: `gpgv's code ${reason} for a signature by key ${printable(keyId, 64)}`,
    expected: weak ? 'SHA-2' : 'a signature that gpgv can check',
  });
}

/** Groups the lines by NEWSIG, which gpgv 2.2 prints before anything else about a signature. */
function collectReports(lines: readonly StatusLine[]): SignatureReport[] {
  const reports: SignatureReport[] = [];
  const unexpected = (keyword: string) =>
    complain('gpgv reports signatures in an unexpected way', {
      found: `${keyword} out of place`,
      expected: 'NEWSIG, one judgement and one VALIDSIG for each signature',
    });
  for (const line of lines) {
    if (line.keyword === 'other') {
      if (line.name === 'NEWSIG') reports.push({ judgement: undefined, valid: undefined });
      continue;
    }
    const report = reports.at(-1);
    if (report === undefined) throw unexpected(line.keyword);
    if (line.keyword === 'VALIDSIG') {
      if (report.valid !== undefined || report.judgement === undefined) throw unexpected('VALIDSIG');
      report.valid = line;
    } else if (line.keyword === 'GOODSIG' || line.keyword === 'EXPKEYSIG') {
      if (report.judgement !== undefined) throw unexpected(line.keyword);
      report.judgement = line;
    }
  }
  return reports;
}

function verifiedSignature(
  { judgement, valid }: SignatureReport,
  policy: SignaturePolicy,
): VerifiedSignature {
  if (judgement === undefined || valid === undefined) {
    throw complain('a signature was not found valid', { found: 'no VALIDSIG for it', expected: 'VALIDSIG' });
  }
  if (valid.signatureType !== 0) {
    throw complain('not a signature of a binary document', {
      found: `signature type ${valid.signatureType}`,
      expected: 'signature type 0',
    });
  }
  const hash = HASH_ALGORITHMS[valid.hashAlgorithm];
  if (hash === undefined || (hash.weak && policy.allowWeakDigest !== true)) {
    throw complain(`the signature by ${signer(judgement)} uses a weak digest algorithm`, {
      found: hash?.name ?? `algorithm ${valid.hashAlgorithm}`,
      expected: 'SHA256, SHA384, SHA512 or SHA224',
      ...(hash === undefined
        ? {}
        : { hint: 'allow it (--allow-weak-digest) if this is an old hotfix and you trust its source' }),
    });
  }
  return {
    primaryFingerprint: valid.primaryFingerprint,
    signingFingerprint: valid.signingFingerprint,
    userId: printable(judgement.userId),
    createdAt: valid.createdAt,
    hashAlgorithm: hash.name,
    weakDigest: hash.weak,
    expiredKey: judgement.keyword === 'EXPKEYSIG',
  };
}

function requirePinnedSigner(signatures: readonly VerifiedSignature[], policy: SignaturePolicy): void {
  if (policy.signers === undefined) return;
  const pinned = policy.signers.map(normalFingerprint);
  const found = signatures.map((signature) => signature.primaryFingerprint);
  if (found.some((fingerprint) => pinned.includes(fingerprint))) return;
  throw complain('the upload is not signed by a pinned signer', {
    found: found.join(', '),
    expected: pinned.length === 1 ? pinned.join() : `one of ${pinned.join(', ')}`,
  });
}
