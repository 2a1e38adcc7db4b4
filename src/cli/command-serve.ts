import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import prettyBytes from 'pretty-bytes';
import { PatchVdiError } from '../errors.js';
import type { PreparedServer } from '../server/first-start.js';
import type { ServeConfig } from '../server/serve-config.js';
import type { ServedPool } from '../server/serve.js';
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
}

/** `ADDRESS:PORT`, `[::1]:PORT`, `ADDRESS` or `:PORT`. @throws PatchVdiError `usage` */
function listenOption(text: string, byDefault: ServeConfig['listen']): ServeConfig['listen'] {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text);
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

async function welcome(prepared: PreparedServer, { pool, url }: ServedPool): Promise<void> {
  const columns = columnsOf(process.stderr);
  const { tls, stateFolder, defaultSrUuid } = prepared;
  const srs: string[] = [];
  for (const repository of pool.repositories.all) {
    const { facts } = repository;
    const free = await repository.freeBytes().then(prettyBytes, () => undefined);
    const mark = facts.uuid === defaultSrUuid ? ' (default)' : '';
    srs.push(`${facts.nameLabel}${mark}, ${free === undefined ? 'out of reach' : `${free} free`}`);
  }
  say([
    `patch-vdi ${packageVersion()} serves ${url}`,
    ...fieldLines(
      [
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

async function runServer(raw: RawServeOptions, context: CommandContext): Promise<void> {
  const stateFolder = raw.state ?? defaultStateFolder();
  if (raw.resetPassword !== undefined) return await resetPasswordOf(raw.resetPassword, stateFolder);
  const config = await configOf(raw);
  const [{ prepareServer }, { serve }, { openLog }] = await Promise.all([
    import('../server/first-start.js'),
    import('../server/serve.js'),
    import('../server/log.js'),
  ]);
  const now = Date.now;
  const prepared = await prepareServer({ stateFolder, config, hostName: hostname(), now });
  await showPassword(prepared);
  const asText = (raw.logFormat ?? (process.stdout.isTTY ? 'text' : 'json')) === 'text';
  const log = openLog(config.log.level, {
    write: logWriter(process.stdout, asText ? (line) => `${logText(line)}\n` : plainLine),
  });
  const { searchPath } = environmentOfProcess();
  const { signal } = context.interrupts;
  signal.throwIfAborted();
  const served = await serve({
    prepared,
    environment: { searchPath },
    now,
    productVersion: packageVersion(),
    log,
  });
  try {
    await welcome(prepared, served);
    if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
    say(['patch-vdi stops: uploads that are under way are undone.']);
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
    .addHelpText(
      'after',
      `
The log goes to standard output, everything else to standard error.

Examples:
  patch-vdi serve --keyring keys.gpg
  patch-vdi serve --config pool.yaml --log-format json >> /var/log/patch-vdi.log
  curl -T hotfix.xsupdate -u root --cacert STATE/certificate.pem \\
      https://localhost:8443/pool_patch_upload`,
    )
    .action((raw: RawServeOptions) => runServer(raw, context));
}
