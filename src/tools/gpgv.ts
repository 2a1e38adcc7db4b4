import type { ToolEnvironment } from './find.js';
import { startTool, type RunningTool, type ToolResult } from './run.js';

export interface GpgvCall {
  readonly environment: ToolEnvironment;
  /** Absolute path of a private folder, gpgv's home: no keyring of the user's is ever looked at. */
  readonly homeFolder: string;
  /** Absolute paths of binary keyrings; a bare name would be looked up in the home. */
  readonly keyringPaths: readonly string[];
  /** Absolute path. With it gpgv reads the signed data from stdin, without it a signed message. */
  readonly detachedSignaturePath?: string | undefined;
  /**
   * Absolute path of a file that gpgv writes the clear text of the signed message to. It is opened as it is, a link
   * is followed, what was in it is lost, and it is written also for a bad signature (measured with 2.2.40): it must
   * lie in a folder that only we can enter.
   */
  readonly clearTextPath?: string | undefined;
  readonly abortSignal?: AbortSignal | undefined;
}

/**
 * Starts gpgv, which reads what is to be verified from its standard input and prints status lines on its standard
 * output. The clear text goes nowhere unless a file is named for it.
 *
 * @throws PatchVdiError `tool` when gpgv is missing or cannot start
 */
export function startGpgv(call: GpgvCall): Promise<RunningTool> {
  const { environment, homeFolder, keyringPaths, detachedSignaturePath, clearTextPath, abortSignal } = call;
  const args = ['--homedir', homeFolder, '--status-fd', '1'];
  if (clearTextPath !== undefined) args.push('--output', clearTextPath);
  for (const path of keyringPaths) args.push('--keyring', path);
  if (detachedSignaturePath !== undefined) args.push('--', detachedSignaturePath, '-');
  return startTool('gpgv', args, { environment, abortSignal });
}

/**
 * Why gpgv could not write the clear text, in the words of strerror(3), or undefined. The status lines do not tell
 * (measured with 2.2.40): a disk that turns out to be full when the file is closed gives GOODSIG and VALIDSIG with
 * exit 2, a disk that is full before gives NODATA, a file that cannot be created gives BADSIG.
 */
export function clearTextFault({
  stderr,
  signal,
}: Pick<ToolResult, 'stderr' | 'signal'>): string | undefined {
  // The kernel ends who writes past RLIMIT_FSIZE.
  if (signal === 'SIGXFSZ') return 'File too large';
  return /^gpgv: handle plaintext failed: (.*)$/m.exec(stderr)?.[1];
}

/** The verdict on one signature by a key that gpgv has; all but GOODSIG say that something is wrong. */
export interface JudgementLine {
  readonly keyword: 'GOODSIG' | 'BADSIG' | 'EXPSIG' | 'EXPKEYSIG' | 'REVKEYSIG';
  readonly keyId: string;
  /** Unescaped and so not printable as it is; from the keyring. */
  readonly userId: string;
}

/** The signature is mathematically right; printed also for expired and revoked keys (measured). */
export interface ValidLine {
  readonly keyword: 'VALIDSIG';
  readonly signingFingerprint: string;
  readonly primaryFingerprint: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** RFC 4880 §9.4. */
  readonly hashAlgorithm: number;
  /** RFC 4880 §5.2.1. */
  readonly signatureType: number;
}

/** The signature could not be checked. */
export interface UncheckedLine {
  readonly keyword: 'ERRSIG';
  readonly keyId: string;
  readonly hashAlgorithm: number;
  /** 9: no public key; 4: unknown algorithm; else a libgpg-error code. */
  readonly reason: number;
}

/** A line whose arguments nobody here looks at. */
export interface OtherLine {
  readonly keyword: 'other';
  readonly name: string;
  /** As printed, with gpgv's escapes. */
  readonly text: string;
}

export type StatusLine = JudgementLine | ValidLine | UncheckedLine | OtherLine;

const PREFIX = '[GNUPG:] ';

/**
 * gpgv's status lines (GnuPG's doc/DETAILS, "Format of the --status-fd output"). A line without the prefix, or not
 * ended, or with other arguments than documented, comes back as `other`, which no judge accepts.
 */
export function parseStatus(stdout: string): StatusLine[] {
  const lines = stdout.split('\n');
  const rest = lines.pop() ?? '';
  const parsed = lines.map(parseLine);
  if (rest !== '') parsed.push({ keyword: 'other', name: 'unfinished line', text: rest });
  return parsed;
}

function parseLine(line: string): StatusLine {
  if (!line.startsWith(PREFIX)) return { keyword: 'other', name: 'foreign line', text: line };
  const [name = '', ...args] = line.slice(PREFIX.length).split(' ');
  const other: OtherLine = { keyword: 'other', name, text: args.join(' ') };
  switch (name) {
    case 'GOODSIG':
    case 'BADSIG':
    case 'EXPSIG':
    case 'EXPKEYSIG':
    case 'REVKEYSIG':
      return { keyword: name, keyId: args[0] ?? '', userId: unescapeStatus(args.slice(1).join(' ')) };
    case 'ERRSIG':
      return {
        keyword: name,
        // The fingerprint comes last since 2.1; it is absent or "-" when the signature does not say.
        keyId: /^[0-9A-F]{40,64}$/.test(args[6] ?? '') ? (args[6] ?? '') : (args[0] ?? ''),
        hashAlgorithm: Number(args[2]),
        reason: Number(args[5]),
      };
    case 'VALIDSIG':
      return parseValid(args) ?? { ...other, name: 'VALIDSIG with unknown arguments' };
    default:
      return other;
  }
}

const FINGERPRINT = /^(?:[0-9A-F]{40}|[0-9A-F]{64})$/;

function parseValid(args: readonly string[]): ValidLine | undefined {
  const [signing = '', , created = '', , , , , hash = '', type = '', primary = ''] = args;
  const wellFormed =
    args.length === 10 &&
    FINGERPRINT.test(signing) &&
    FINGERPRINT.test(primary) &&
    /^\d{1,12}$/.test(created) &&
    /^\d{1,3}$/.test(hash) &&
    /^[0-9A-Fa-f]{2}$/.test(type);
  if (!wellFormed) return undefined;
  return {
    keyword: 'VALIDSIG',
    signingFingerprint: signing,
    primaryFingerprint: primary,
    createdAt: Number(created),
    hashAlgorithm: Number(hash),
    signatureType: Number.parseInt(type, 16),
  };
}

/** Undoes gpgv's `%XX`. The result may hold any character. */
function unescapeStatus(text: string): string {
  if (!text.includes('%')) return text;
  const bytes: Buffer[] = [];
  for (const part of text.split(/(%[0-9A-Fa-f]{2})/)) {
    bytes.push(/^%[0-9A-Fa-f]{2}$/.test(part) ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part));
  }
  return Buffer.concat(bytes).toString('utf8');
}
