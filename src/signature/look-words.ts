import { isPatchVdiError } from '../errors.js';
import { printable } from './printable.js';

export type LookCompression = 'none' | 'ZIP' | 'ZLIB' | 'BZip2' | 'unknown';

/** Who is said to have signed: a One-Pass packet's claim, checked by nobody. */
export interface ClaimedSigner {
  /** Of the key or subkey, 16 upper-case hex digits. */
  readonly keyId: string;
  readonly publicKeyAlgorithm: string;
  /** Spelt as in a verdict: `SHA256`. */
  readonly hashAlgorithm: string;
}

/** The name of the stream in complaints about what is in a Compressed Data packet. */
export const DECOMPRESSED = 'upload, decompressed';

const MAXIMUM_COMPLAINT_CHARACTERS = 400;

/** More keys than this are only counted. */
const NAMED_KEYS = 3;

/**
 * `an OpenPGP signed message, compressed with ZIP, SHA-256, by key 0123456789ABCDEF`. Nothing in it is checked; all
 * of it is printable, whatever the message is.
 */
export function describeMessage(compression: LookCompression, signers: readonly ClaimedSigner[]): string {
  const packing =
    compression === 'none'
      ? 'not compressed'
      : compression === 'unknown'
        ? 'compressed in an unknown way'
        : `compressed with ${compression}`;
  if (signers.length === 0) {
    const closed = compression === 'BZip2' || compression === 'unknown';
    const why = closed ? 'so it cannot be looked into' : 'with no signer to be seen';
    return `data that begins like an OpenPGP message, ${packing}, ${why}`;
  }
  return `an OpenPGP signed message, ${packing}, ${describeSigners(signers)}`;
}

function describeSigners(signers: readonly ClaimedSigner[]): string {
  const hashes = new Set(signers.map(({ hashAlgorithm }) => spoken(hashAlgorithm)));
  const [onlyHash] = hashes.size === 1 ? hashes : [];
  const named = signers.slice(0, NAMED_KEYS).map(({ keyId, hashAlgorithm }) => {
    return onlyHash === undefined ? `${keyId} (${spoken(hashAlgorithm)})` : keyId;
  });
  const more = signers.length - named.length;
  if (more > 0) named.push(`${more} more`);
  const last = named.pop() ?? '';
  const keys = named.length === 0 ? `key ${last}` : `keys ${named.join(', ')} and ${last}`;
  return `${onlyHash === undefined ? '' : `${onlyHash}, `}by ${keys}`;
}

/** As people write it: `SHA-256`. */
function spoken(hashAlgorithm: string): string {
  return hashAlgorithm.replace(/^SHA(?=\d+$)/, 'SHA-');
}

/** @param found as `describeFirstBytes` says it */
export function describeOther(found: string): string {
  return printable(found.startsWith('bytes ') ? `unknown data that begins with ${found}` : found);
}

/** A refusal in one line. Throws what is none on: a defect. */
export function complaintWords(error: unknown): string {
  if (!isPatchVdiError(error)) throw error;
  const { found, expected, offset, path } = error.context;
  const stream = path === DECOMPRESSED ? ' of the decompressed data' : '';
  const where = offset === undefined ? '' : ` at byte ${offset}${stream}`;
  const details = [found, expected === undefined ? undefined : `expected ${expected}`].filter(Boolean);
  const colon = details.length === 0 ? '' : ': ';
  return printable(`${error.message}${where}${colon}${details.join(', ')}`, MAXIMUM_COMPLAINT_CHARACTERS);
}
