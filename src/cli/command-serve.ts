import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, Option } from 'commander';
import { PatchVdiError } from '../errors.js';
import { shortBytes } from '../inspect/draw-text.js';
import type { PreparedServer } from '../server/first-start.js';
import type { ServeConfig } from '../server/serve-config.js';
import type { StorageRepository } from '../pool/storage.js';
import type { ServedSlave, SlaveOptions } from '../server/hosts/serve-slave.js';
import type { ServeOptions } from '../server/serve.js';
import type { ServerTrust } from '../xenapi/trust.js';
import { readPassword, refusePasswordOption } from './password.js';
import { defaultStateFolder, environmentOfProcess } from './environment.js';
import { logText, logWriter, plainLine } from './log-lines.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines, visibleLines } from './text.js';
import { packageVersion } from './version.js';

interface RawServeOptions {
  readonly config?: string;
  readonly state?: string;
  readonly listen?: string;
  readonly keyring?: readonly string[];
  readonly logFormat?: 'text' | 'json';
  readonly resetPassword?: string;
  readonly join?: string;
  readonly user: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly fingerprint?: string;
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

/** For people; programs read the log. */
function say(lines: readonly string[]): void {
  process.stderr.write(`${lines.join('\n')}\n`);
}

async function showPassword(prepared: PreparedServer): Promise<void> {
  const { firstPassword } = prepared;
  if (firstPassword !== undefined) {
    // Shown once: not to somebody whose server then does not start.
    const { requireFreePlace } = await import('../server/server.js');
    await requireFreePlace(prepared.config.listen);
    const note = 'This is the first start. The password of root, shown only this once:';
    say([note, '', `    ${firstPassword}`, '']);
  }
  await prepared.passwordShown();
}

/** Clients that know the old fingerprint will complain. */
function certificateText(tls: PreparedServer['tls']): string | undefined {
  if (tls === undefined) return undefined;
  return tls.renewed === undefined ? tls.fingerprint : `${tls.fingerprint}\nnew: ${tls.renewed}`;
}

async function welcome(
  prepared: PreparedServer,
  repositories: readonly StorageRepository[],
  url: string,
  master?: string,
): Promise<void> {
  const columns = columnsOf(process.stderr);
  const { tls, stateFolder, defaultSrUuid } = prepared;
  const srs: string[] = [];
  for (const repository of repositories) {
    const { facts } = repository;
    const free = await repository.freeBytes().then(shortBytes, () => undefined);
    const mark = facts.uuid === defaultSrUuid ? ' (default)' : '';
    srs.push(`${facts.nameLabel}${mark}, ${free === undefined ? 'out of reach' : `${free} free`}`);
  }
  say([
    `patch-vdi ${packageVersion()} serves ${url}`,
    ...fieldLines(
      [
        ['slave of', master],
        ['state', stateFolder],
        ['storage', srs.join('\n')],
        ['keyrings', prepared.policy.keyrings.join('\n')],
        ['certificate', certificateText(tls)],
      ],
      columns - 2,
    ).map((line) => `  ${line}`),
  ]);
  for (const warning of prepared.warnings) say([visibleLines(`warning: ${warning}`, columns)]);
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

/** Whom to believe that he is the master. @throws PatchVdiError `usage` */
function trustOf({ caFile, fingerprint }: RawServeOptions): ServerTrust {
  if (caFile !== undefined && fingerprint !== undefined) {
    throw new PatchVdiError('usage', 'it is not clear which certificate to trust', {
      context: { found: '--ca-file and --fingerprint', expected: 'one of them' },
    });
  }
  if (caFile !== undefined) return { caFile };
  return fingerprint === undefined ? 'system' : { fingerprint };
}

/** What a host that has not joined yet asks its master with. */
async function joinOptions(
  raw: RawServeOptions,
  url: string,
  signal: AbortSignal,
): Promise<SlaveOptions['join']> {
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
  const join = masterUrl === undefined || isJoined ? undefined : await joinOptions(raw, masterUrl, signal);
  let slave: ServedSlave;
  try {
    const { searchPath } = environmentOfProcess();
    const calls = slaveApplyCalls({ ...scene, environment: { searchPath } });
    slave = await serveSlave({ ...scene, hostName: hostname(), join, masterUrl, calls });
  } catch (error) {
    throw translateApiError(error, { server: masterUrl ?? 'the master', user: raw.user });
  }
  try {
    await welcome(scene.prepared, slave.repositories, slave.url, slave.masterUrl);
    await untilInterrupted(signal);
  } finally {
    await slave.close();
  }
}

async function untilInterrupted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
  say(['patch-vdi stops: uploads that are under way are undone.']);
}

async function runServer(raw: RawServeOptions, context: CommandContext): Promise<void> {
  const stateFolder = raw.state ?? defaultStateFolder();
  if (raw.resetPassword !== undefined) return await resetPasswordOf(raw.resetPassword, stateFolder);
  const config = await configOf(raw);
  collectWithoutMarkingAhead();
  const [{ prepareServer }, { serve }, { openLog }] = await Promise.all([
    import('../server/first-start.js'),
    import('../server/serve.js'),
    import('../server/log.js'),
  ]);
  const now = Date.now;
  const { readMembership } = await import('../server/hosts/membership.js');
  const membership = await readMembership(stateFolder);
  const isSlave = raw.join !== undefined || membership !== undefined;
  const prepared = await prepareServer({ stateFolder, config, hostName: hostname(), now, isSlave });
  await showPassword(prepared);
  const asText = (raw.logFormat ?? (process.stdout.isTTY ? 'text' : 'json')) === 'text';
  const log = openLog(config.log.level, {
    write: logWriter(process.stdout, asText ? (line) => `${logText(line)}\n` : plainLine),
  });
  const { signal } = context.interrupts;
  signal.throwIfAborted();
  if (isSlave) {
    return await runSlave(raw, { prepared, now, log }, membership?.joined !== undefined, context);
  }
  const { searchPath } = environmentOfProcess();
  const served = await serve({
    prepared,
    environment: { searchPath },
    now,
    productVersion: packageVersion(),
    log,
  });
  try {
    await welcome(prepared, served.pool.repositories.all, served.url);
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
    .option('--user <name>', 'with --join: an administrator of the pool', 'root')
    .option(
      '--password-file <file>',
      'with --join: his password, - for standard input; default: PATCH_VDI_PASSWORD, or asked for; once',
    )
    .option('--ca-file <file>', 'with --join: trust the certificates in that file')
    .option('--fingerprint <sha256>', 'with --join: trust exactly the certificate with that SHA-256')
    .addOption(new Option('--password <password>').hideHelp().argParser(refusePasswordOption))
    .addHelpText('after', '\nThe log goes to standard output, everything else to standard error.')
    .action((raw: RawServeOptions) => runServer(raw, context));
}
