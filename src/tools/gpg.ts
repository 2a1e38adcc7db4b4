import { join } from 'node:path';
import { PatchVdiError } from '../errors.js';
import type { ToolEnvironment } from './find.js';
import { runTool, startTool, toolFailure, type RunningTool, type ToolResult } from './run.js';

/** What every call of gpg needs. */
export interface GpgCall {
  readonly environment: ToolEnvironment;
  /** Absolute path of the home whose keys are used. */
  readonly homeFolder: string;
  readonly abortSignal?: AbortSignal | undefined;
}

/** A socket path ends at 108 bytes, with its final zero (unix(7)); the agent's is the home and a name like this. */
const MAX_SOCKET_PATH_BYTES = 107;
const LONGEST_SOCKET_NAME = 'S.gpg-agent.browser';

/** Whether gpg's agent may be unable to open its sockets in that home (it can where /run/user/UID exists). */
export function isTooLongForSockets(homeFolder: string): boolean {
  return Buffer.byteLength(join(homeFolder, LONGEST_SOCKET_NAME)) > MAX_SOCKET_PATH_BYTES;
}

function baseArguments({ homeFolder }: GpgCall): string[] {
  // Nobody is there to answer: a passphrase that the agent does not have is a failure.
  return [
    '--homedir',
    homeFolder,
    '--batch',
    '--no-tty',
    '--pinentry-mode',
    'error',
    '--no-auto-check-trustdb',
  ];
}

/** The program's failure, and the reason that it does not tell: a home whose path is too long for sockets. */
function gpgFailure(operation: string, result: ToolResult, { homeFolder }: GpgCall): PatchVdiError {
  const failure = toolFailure('gpg', operation, result);
  if (!isTooLongForSockets(homeFolder)) return failure;
  const bytes = Buffer.byteLength(homeFolder);
  return new PatchVdiError('tool', failure.message, {
    context: failure.context,
    hint: `the path of gpg's home has ${bytes} bytes, which may be too long for its agent's sockets: use a shorter one (TMPDIR, or the folder that holds the keys)`,
    cause: failure,
  });
}

async function gpg(operation: string, args: readonly string[], call: GpgCall): Promise<string> {
  const result = await runTool('gpg', [...baseArguments(call), ...args], call);
  if (result.exitCode !== 0) throw gpgFailure(operation, result, call);
  return result.stdout;
}

/**
 * Imports a key without a passphrase, and trusts it as one's own.
 *
 * @param keyPath absolute path of a transferable secret key
 * @param ownerTrustPath absolute path of a line as `gpg --export-ownertrust` prints it
 * @throws PatchVdiError `tool`, `interrupted`
 */
export async function importSecretKey(keyPath: string, ownerTrustPath: string, call: GpgCall): Promise<void> {
  await gpg('import the test key', ['--import', keyPath], call);
  await gpg('trust the test key', ['--import-ownertrust', ownerTrustPath], call);
}

/**
 * The fingerprints of all primary keys whose secret part is there, as the agent sees it.
 *
 * @throws PatchVdiError `tool`, `interrupted`
 */
export async function secretFingerprints(call: GpgCall): Promise<string[]> {
  const listing = await gpg('list the secret keys', ['--with-colons', '--list-secret-keys'], call);
  // GnuPG, doc/DETAILS: field 10 of the fpr line after each sec line.
  return [...listing.matchAll(/^sec:(?:.*\n)(?:fpr:+([0-9A-F]+):)/gm)].map((match) => match[1] ?? '');
}

/**
 * Ends the agent and all else that gpg left running for a home of ours.
 *
 * @throws PatchVdiError `tool`
 */
export async function stopGpgDaemons({ environment, homeFolder }: GpgCall): Promise<void> {
  const result = await runTool('gpgconf', ['--kill', 'all'], {
    environment,
    variables: { GNUPGHOME: homeFolder },
  });
  if (result.exitCode !== 0) throw toolFailure('gpgconf', 'stop the agent of the test key', result);
}

/** What gpg says about a signature that it made (GnuPG, doc/DETAILS, SIG_CREATED). */
export interface CreatedSignature {
  /** RFC 4880 §9.1. */
  readonly publicKeyAlgorithm: number;
  /** RFC 4880 §9.4. */
  readonly hashAlgorithm: number;
  /** Upper-case hex, of the key that signed, which may be a subkey. */
  readonly fingerprint: string;
}

/**
 * Starts gpg to sign what it is fed: a binary detached signature by the home's default key. `created` tells what it
 * made once it has ended well.
 *
 * @param signaturePath absolute path of a file that does not exist yet
 * @param systemTime Unix seconds that gpg takes for now; undefined means the clock
 */
export async function startDetachedSignature(
  signaturePath: string,
  systemTime: number | undefined,
  call: GpgCall,
): Promise<{ readonly running: RunningTool; readonly created: () => Promise<CreatedSignature> }> {
  const time = systemTime === undefined ? [] : ['--faked-system-time', `${systemTime}!`];
  const plain = ['--no-armor', '--no-textmode', '--no-emit-version', '--status-fd', '1'];
  const args = [...baseArguments(call), ...time, ...plain, '--output', signaturePath, '--detach-sign'];
  const running = await startTool('gpg', args, call);
  const created = async (): Promise<CreatedSignature> => {
    const result = await running.finished;
    if (result.exitCode !== 0) throw gpgFailure('sign the test patch', result, call);
    return createdSignature(result);
  };
  return { running, created };
}

function createdSignature(result: ToolResult): CreatedSignature {
  const lines = result.stdout.split('\n').filter((line) => line.startsWith('[GNUPG:] SIG_CREATED '));
  const match = /^\[GNUPG:\] SIG_CREATED D (\d+) (\d+) 00 \d+ ([0-9A-F]{40})$/.exec(lines[0] ?? '');
  if (lines.length === 1 && match !== null) {
    return {
      publicKeyAlgorithm: Number(match[1]),
      hashAlgorithm: Number(match[2]),
      fingerprint: match[3] ?? '',
    };
  }
  throw new PatchVdiError('tool', 'gpg did not make the one signature that it was asked for', {
    context: {
      operation: 'sign the test patch',
      found: lines.join('; ').slice(0, 500) || 'no word about a signature',
      expected: 'one detached binary signature by a version 4 key',
    },
  });
}
