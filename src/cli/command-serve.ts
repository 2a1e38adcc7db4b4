import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, Option } from 'commander';
import { PatchVdiError } from '../errors.js';
import type { ServeConfig } from '../server/serve-config.js';
import type { ServedSlave } from '../server/hosts/serve-slave.js';
import type { ServeOptions, ServedPool } from '../server/serve.js';
import { refusePasswordOption } from './password.js';
import { defaultStateFolder, environmentOfProcess } from './environment.js';
import { logText, logWriter, plainLine } from './log-lines.js';
import type { CommandContext } from './program.js';
import { loginOptions, type RawLoginOptions } from './serve-login.js';
import { collect } from './source-options.js';
import { say, showPassword, welcome } from './serve-words.js';
import { packageVersion } from './version.js';

interface RawServeOptions extends RawLoginOptions {
  readonly config?: string;
  readonly state?: string;
  readonly listen?: string;
  readonly keyring?: readonly string[];
  readonly logFormat?: 'text' | 'json';
  readonly resetPassword?: string;
  readonly join?: string;
  readonly pool?: string;
}

/** `ADDRESS:PORT`, `[::1]:PORT`, `ADDRESS` or `:PORT`. @throws PatchVdiError `usage` */
function listenOption(text: string, byDefault: ServeConfig['listen']): ServeConfig['listen'] {
  // Digits alone are a port: as an address they would be one of 0.0.0.0/8.
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(
    /^\d{1,5}$/.test(text) ? `:${text}` : text,
  );
  const address = (match?.[1] ?? match?.[2] ?? '') || byDefault.address;
  const port = match?.[3] === undefined ? byDefault.port : Number(match[3]);
  if (match !== null && text !== '' && port <= 65_535) return { address, port };
  throw new PatchVdiError('usage', 'the address cannot be understood', {
    context: {
      path: '--listen',
      found: JSON.stringify(text),
      expected: 'ADDRESS:PORT, such as 0.0.0.0:8443',
    },
  });
}

async function configOf(raw: RawServeOptions): Promise<ServeConfig> {
  const { defaultServeConfig, readServeConfig } = await import('../server/serve-config.js');
  let config = defaultServeConfig();
  if (raw.config !== undefined) {
    config = await readServeConfig(raw.config);
  }
  const listen = raw.listen === undefined ? config.listen : listenOption(raw.listen, config.listen);
  const keyrings = raw.keyring?.map((path) => resolve(path)) ?? config.signature.keyrings;
  return { ...config, listen, signature: { ...config.signature, keyrings } };
}

async function resetPasswordOf(name: string, stateFolder: string): Promise<void> {
  const { resetPassword } = await import('../server/first-start.js');
  const password = await resetPassword(stateFolder, name);
  say([`The new password of ${name}, shown only this once:`, '', `    ${password}`, '']);
}

/**
 * Node makes a new buffer for each read of a connection. V8 answers with one collection of the whole heap after the
 * other (50 to 80 for 1 GiB with Node 20 and 24), marking in several threads, although the buffers are dead already:
 * that cost 1.5 of the 4 s of processor time of an upload. Without incremental marking it collects young objects
 * instead, and now and then all of our small heap at once, which takes some 10 to 30 ms. The flag is read whenever a
 * collection could start, so it may be set late; a V8 that does not know it any more says so and goes on.
 */
function collectWithoutMarkingAhead(): void {
  setFlagsFromString('--no-incremental-marking');
}

async function runSlave(
  raw: RawServeOptions,
  scene: Pick<ServeOptions, 'prepared' | 'now' | 'log'>,
  isJoined: boolean,
  { interrupts: { signal } }: CommandContext,
): Promise<void> {
  const { serveSlave } = await import('../server/hosts/serve-slave.js');
  const { slaveApplyCalls } = await import('../server/hosts/serve-apply.js');
  const { translateApiError } = await import('./api-errors.js');
  const { join: masterUrl } = raw;
  const join = masterUrl === undefined || isJoined ? undefined : await loginOptions(raw, masterUrl, signal);
  let slave: ServedSlave;
  try {
    const { searchPath } = environmentOfProcess();
    const calls = slaveApplyCalls({ ...scene, environment: { searchPath } });
    slave = await serveSlave({ ...scene, hostName: hostname(), join, masterUrl, calls });
  } catch (error) {
    throw translateApiError(error, { server: masterUrl ?? 'the master', user: raw.user });
  }
  try {
    const facts = { defaultSr: scene.prepared.defaultSrUuid, master: slave.masterUrl };
    await welcome(scene.prepared, slave.repositories, slave.url, facts);
    await untilInterrupted(signal);
  } finally {
    await slave.close();
  }
}

async function untilInterrupted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
  say(['patch-vdi stops: uploads that are under way are undone.']);
}

/** A slave has SRs of its own, or none. @throws PatchVdiError `usage` */
function refusePoolOfSlave({ join }: RawServeOptions): never {
  throw new PatchVdiError('usage', 'a slave cannot have the storage repositories of a real pool', {
    context: {
      found: join === undefined ? '--pool, and a state folder that has joined a pool' : '--pool and --join',
      expected: 'one of them',
    },
    hint: 'the master may have them: hosts that join it get their copies through it',
  });
}

async function realPoolOf(raw: RawServeOptions, signal: AbortSignal): Promise<ServeOptions['realPool']> {
  if (raw.pool === undefined) return undefined;
  const { url, trust, user, password } = await loginOptions(raw, raw.pool, signal);
  const options = { url, trust, credentials: { user, password }, signal };
  const { PoolLink } = await import('../server/real-pool/pool-link.js');
  await translated(raw, async () => {
    const link = await PoolLink.open(options);
    await link.close();
  });
  return options;
}

/** What the real pool refuses becomes an error of ours. */
async function translated<Result>(raw: RawServeOptions, work: () => Promise<Result>): Promise<Result> {
  const { translateApiError } = await import('./api-errors.js');
  try {
    return await work();
  } catch (error) {
    throw raw.pool === undefined ? error : translateApiError(error, { server: raw.pool, user: raw.user });
  }
}

function defaultSrOf({ pool: { database, pool } }: ServedPool): string | undefined {
  return database.find('SR', database.get('pool', pool).default_SR)?.uuid;
}

async function runServer(raw: RawServeOptions, context: CommandContext): Promise<void> {
  const stateFolder = raw.state ?? defaultStateFolder();
  if (raw.pool !== undefined && raw.join !== undefined) refusePoolOfSlave(raw);
  if (raw.resetPassword !== undefined) return await resetPasswordOf(raw.resetPassword, stateFolder);
  const config = await configOf(raw);
  collectWithoutMarkingAhead();
  const [{ prepareServer, refuseFolders }, { openLog }] = await Promise.all([
    import('../server/first-start.js'),
    import('../server/log.js'),
  ]);
  const now = Date.now;
  const { readMembership } = await import('../server/hosts/membership.js');
  const membership = await readMembership(stateFolder);
  const isSlave = raw.join !== undefined || membership !== undefined;
  if (raw.pool !== undefined && isSlave) refusePoolOfSlave(raw);
  if (raw.pool !== undefined) refuseFolders(config);
  const { signal } = context.interrupts;
  // Before anything is made or shown: whoever mistypes the password finds no state folder, and has missed nothing.
  const realPool = await realPoolOf(raw, signal);
  const hasRealPool = realPool !== undefined;
  const prepared = await prepareServer({
    stateFolder,
    config,
    hostName: hostname(),
    now,
    isSlave,
    hasRealPool,
  });
  await showPassword(prepared);
  const asText = (raw.logFormat ?? (process.stdout.isTTY ? 'text' : 'json')) === 'text';
  const log = openLog(config.log.level, {
    write: logWriter(process.stdout, asText ? (line) => `${logText(line)}\n` : plainLine),
  });
  signal.throwIfAborted();
  if (isSlave) {
    return await runSlave(raw, { prepared, now, log }, membership?.joined !== undefined, context);
  }
  const { searchPath } = environmentOfProcess();
  const options = {
    prepared,
    environment: { searchPath },
    now,
    productVersion: packageVersion(),
    log,
    realPool,
  };
  const { serve } = await import('../server/serve.js');
  const served = await translated(raw, () => serve(options));
  try {
    await welcome(prepared, served.pool.repositories.all, served.url, {
      defaultSr: defaultSrOf(served),
      realPool: raw.pool,
    });
    await untilInterrupted(signal);
    const { applying } = served.pool.locks;
    if (applying > 0) {
      say([
        'It waits for the patch that is being applied. A second signal kills that: it may then have run in part.',
      ]);
    }
  } finally {
    await served.close();
  }
}

export function serveCommand(context: CommandContext): Command {
  return new Command('serve')
    .summary('the pool side: upload handler, records, XenAPI')
    .description(
      'Serves a pool of this one host, with folders as storage repositories: PUT /pool_patch_upload, GET /pool_patch_download, import_raw_vdi, export_raw_vdi, and the XenAPI over JSON-RPC (/jsonrpc) and XML-RPC (/). The first start makes a state folder, a storage repository, a certificate, and a password for root that is shown once.',
    )
    .option('--config <file>', 'YAML: storage repositories, users, TLS, keyrings, limits (docs/serve.md)')
    .option('--state <folder>', `what must survive (default: ${defaultStateFolder()})`)
    .option('--listen <address:port>', 'default: 127.0.0.1:8443')
    .option('--keyring <file...>', 'whose patches are taken; default: STATE/keyrings')
    .addOption(new Option('--log-format <format>', 'default: text on a terminal').choices(['text', 'json']))
    .option('--reset-password <user>', 'gives a user of the state folder a new password, and ends')
    .option('--join <url>', 'become a slave of the pool of that master: https://master:8443')
    .option('--pool <url>', 'use the SRs of that pool of XenServer or XCP-ng: https://xcp1')
    .option('--user <name>', 'with --join or --pool: an administrator there', 'root')
    .option(
      '--password-file <file>',
      'with --join or --pool: his password, - for standard input; default: PATCH_VDI_PASSWORD, or asked for',
    )
    .option('--ca-file <file>', 'with --join or --pool: trust the certificates in that file')
    .option(
      '--fingerprint <sha256>',
      'with --join or --pool: trust exactly the certificate with that SHA-256 (repeatable: one for each host of the pool)',
      collect,
    )
    .addOption(new Option('--password <password>').hideHelp().argParser(refusePasswordOption))
    .addHelpText('after', '\nThe log goes to standard output, everything else to standard error.')
    .action((raw: RawServeOptions) => runServer(raw, context));
}
