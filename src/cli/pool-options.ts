import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import type { ServerTimeouts } from '../xenapi/exchange.js';
import type { ServerTrust } from '../xenapi/trust.js';
import type { XenConnection } from '../xenapi/connection.js';
import { PatchVdiError } from '../errors.js';
import { defaultStateFolder } from './environment.js';
import { readPassword, refusePasswordOption } from './password.js';
import type { CommandContext } from './program.js';
import { collect, seconds } from './source-options.js';
import { columnsOf, visibleLines } from './text.js';

/** Options of every command that talks to a pool, as commander hands them over. */
export interface RawPoolOptions {
  readonly url: string;
  readonly user: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly fingerprint?: readonly string[];
  readonly state?: string;
  readonly json?: boolean;
  /** Of commands that have it: also how long the server may stand still. */
  readonly idleTimeout?: string;
}

/** The longest that a timer can run, in seconds. */
const MAX_STALL_SECONDS = 2_147_483;

/** @throws PatchVdiError `usage` */
function timeoutsOf({ idleTimeout }: RawPoolOptions): Partial<ServerTimeouts> {
  const given = seconds(idleTimeout);
  if (given === undefined) return {};
  return { stall: Math.min(given === 0 ? MAX_STALL_SECONDS : given, MAX_STALL_SECONDS) * 1000 };
}

const DEFAULT_URL = 'https://localhost:8443';
const CERTIFICATE = 'certificate.pem';

export function addPoolOptions(command: Command): Command {
  return command
    .option('--pool, --url <url>', 'the server: a pool of ours, or of XenServer', DEFAULT_URL)
    .option('--user <name>', 'who logs in', 'root')
    .option(
      '--password-file <file>',
      'a file with the password, - for standard input; default: PATCH_VDI_PASSWORD, or asked for',
    )
    .option('--ca-file <file>', 'trust the certificates in that file')
    .option(
      '--fingerprint <sha256>',
      'trust exactly the certificate with that SHA-256 (repeatable: one for each host of the pool)',
      collect,
    )
    .option(
      '--state <folder>',
      'the state folder of a server on this machine, whose certificate is trusted; default: where "serve" has it',
    )
    .addOption(new Option('--password <password>').hideHelp().argParser(refusePasswordOption))
    .option('--json', 'print one object');
}

/**
 * A server on this machine is known by its certificate file, whatever names are in it.
 *
 * @throws PatchVdiError `usage`
 */
async function trustOf(raw: RawPoolOptions): Promise<ServerTrust> {
  const given = [raw.caFile, raw.fingerprint, raw.state].filter((option) => option !== undefined);
  if (given.length > 1) {
    throw new PatchVdiError('usage', 'it is not clear which certificate to trust', {
      context: { found: 'two of --ca-file, --fingerprint and --state', expected: 'one of them' },
    });
  }
  if (raw.caFile !== undefined) return { caFile: raw.caFile };
  if (raw.fingerprint !== undefined) return { fingerprint: raw.fingerprint };
  const { isLoopback, parseServerUrl } = await import('../xenapi/server-address.js');
  const { fingerprintOf, readCertificate } = await import('../xenapi/trust.js');
  const address = parseServerUrl(raw.url);
  const path = join(raw.state ?? defaultStateFolder(), CERTIFICATE);
  if (raw.state === undefined) {
    if (!address.secure || !isLoopback(address.host)) return 'system';
    const isThere = await stat(path).then(
      (stats) => stats.isFile(),
      () => false,
    );
    if (!isThere) return 'system';
  }
  return { fingerprint: fingerprintOf((await readCertificate(path)).first) };
}

/** What a command is given to work with. */
export interface PoolScene {
  readonly connection: XenConnection;
  /** For people at once; for programs in the object that is printed. */
  readonly warn: (words: string) => void;
  readonly warnings: readonly string[];
}

/**
 * Logs in, works, logs out. What the server refuses becomes an error of ours.
 *
 * @param stdinIsTaken the upload comes from there
 */
export async function withPool<Result>(
  raw: RawPoolOptions,
  context: CommandContext,
  work: (scene: PoolScene) => Promise<Result>,
  stdinIsTaken = false,
): Promise<Result> {
  const { signal } = context.interrupts;
  const warnings: string[] = [];
  const warn = (words: string): void => {
    warnings.push(words);
    if (raw.json !== true) {
      process.stderr.write(`${visibleLines(`warning: ${words}`, columnsOf(process.stderr))}\n`);
    }
  };
  const timeouts = timeoutsOf(raw);
  const trust = await trustOf(raw);
  const { parseServerUrl } = await import('../xenapi/server-address.js');
  const { name } = parseServerUrl(raw.url);
  const password = await readPassword({
    file: raw.passwordFile,
    stdinIsTaken,
    whose: `${raw.user} at ${name}`,
    signal,
    warn,
  });
  const { connectPool } = await import('../xenapi/connect.js');
  const { translateApiError } = await import('./api-errors.js');
  let connection: XenConnection | undefined;
  try {
    connection = await connectPool({
      url: raw.url,
      credentials: { user: raw.user, password },
      trust,
      signal,
      timeouts,
    });
    return await work({ connection, warn, warnings });
  } catch (error) {
    throw translateApiError(error, { server: connection?.name ?? name, user: raw.user });
  } finally {
    await connection?.close();
  }
}
