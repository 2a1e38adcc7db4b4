import { PatchVdiError } from '../errors.js';
import type { ServerTrust } from '../xenapi/trust.js';
import { readPassword } from './password.js';
import { say } from './serve-words.js';
import { columnsOf, visibleLines } from './text.js';

/** Options of `serve` for a server that it logs in to. */
export interface RawLoginOptions {
  readonly user: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly fingerprint?: readonly string[];
}

/** Whom to believe that he is the master, of our own pool or of a real one. @throws PatchVdiError `usage` */
function trustOf({ caFile, fingerprint }: RawLoginOptions): ServerTrust {
  if (caFile !== undefined && fingerprint !== undefined) {
    throw new PatchVdiError('usage', 'it is not clear which certificate to trust', {
      context: { found: '--ca-file and --fingerprint', expected: 'one of them' },
    });
  }
  if (caFile !== undefined) return { caFile };
  return fingerprint === undefined ? 'system' : { fingerprint };
}

/** Who logs in where, and by what the server is known. */
interface ServerLogin {
  readonly url: string;
  readonly trust: ServerTrust;
  readonly user: string;
  readonly password: string;
  readonly signal: AbortSignal;
}

/** For the master that a host joins, and for a real pool. @throws PatchVdiError `usage` */
export async function loginOptions(
  raw: RawLoginOptions,
  url: string,
  signal: AbortSignal,
): Promise<ServerLogin> {
  const { parseServerUrl } = await import('../xenapi/server-address.js');
  const trust = trustOf(raw);
  const password = await readPassword({
    file: raw.passwordFile,
    stdinIsTaken: false,
    whose: `${raw.user} at ${parseServerUrl(url).name}`,
    signal,
    warn: (words) => say([visibleLines(`warning: ${words}`, columnsOf(process.stderr))]),
  });
  return { url, trust, user: raw.user, password, signal };
}
