import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { armored } from '../../src/kit/armored.js';
import { CLI, startCli } from '../e2e/cli.js';
import { serve } from '../e2e/http-servers.js';
import { makeWorkspace, type Workspace } from '../e2e/workspace.js';
import { makeZip } from '../io/zips.js';
import { REPOSITORY, blocksOf } from './pages.js';

const run = promisify(execFile);

/** How a command ended. */
export interface CommandEnd {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const TIME_LIMIT_MILLISECONDS = 180_000;
/** Bytes of hotfix.xsupdate, and of its payload in the plan that docs/design.md shows. */
const UPLOAD_SIZE = '3M';

/** Runs a command in a shell, in a folder, with the programs that a reader of the pages has. */
async function shell(
  folder: string,
  command: string,
  env: Readonly<Record<string, string>>,
): Promise<CommandEnd> {
  const path = `${join(folder, 'bin')}:${join(process.execPath, '..')}:${SYSTEM_PATH}`;
  const options = {
    cwd: folder,
    env: { PATH: path, HOME: folder, TMPDIR: join(folder, 'tmp'), LC_ALL: 'C', ...env },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    timeout: TIME_LIMIT_MILLISECONDS,
  } as const;
  try {
    const { stdout, stderr } = await run('bash', ['-o', 'pipefail', '-c', command], options);
    return { exitCode: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof code !== 'number') throw error;
    return { exitCode: code, stdout, stderr };
  }
}

function program(folder: string, name: string, text: string): void {
  writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${text}\n`);
  chmodSync(join(folder, 'bin', name), 0o755);
}

/** The configuration that docs/serve.md shows, for this machine. */
function configuration(): string {
  const text = readFileSync(join(REPOSITORY, 'docs/serve.md'), 'utf8');
  const shown = blocksOf(text).find(({ language }) => language === 'yaml')?.text ?? '';
  const own = [
    [/ \/srv\//g, ' srv/'],
    [/password_hash: '.*SALT.*'/, 'password_file: root.password'],
    [/ *signers: .*\n/, ''],
  ] as const;
  return own.reduce((yaml, [pattern, by]) => {
    expect(yaml).toMatch(pattern);
    return yaml.replace(pattern, by);
  }, shown);
}

/**
 * The folder that the pages start from: what they name and do not make themselves. Every upload is a real signed patch
 * of the test kit, and every image is built from it.
 */
export async function preparedFolder(): Promise<Workspace> {
  const work = makeWorkspace();
  const { folder } = work;
  mkdirSync(join(folder, 'bin'));
  program(folder, 'patch-vdi', `exec '${process.execPath}' '${CLI}' "$@"`);
  program(folder, 'next-tool', 'exec cat >/dev/null');
  program(folder, 'your-importer', 'exec cat >/dev/null');
  const commands = [
    'patch-vdi test key -o keys --seed 1',
    'cp keys/keyring.gpg keys.gpg',
    `patch-vdi test patch -o hotfix.xsupdate --size ${UPLOAD_SIZE} --sign keys --seed 1`,
    'patch-vdi test patch -o driver.sh --size 1M --sign keys --seed 2 --detached',
    'patch-vdi build hotfix.xsupdate -o vdi.vhd --keyring keys.gpg',
    'patch-vdi build hotfix.xsupdate -o b.raw --keyring keys.gpg',
    'patch-vdi build hotfix.xsupdate -o image.vhd --keyring keys.gpg --source-date-epoch 1700000000',
    'cp vdi.vhd a.vhd && cp vdi.vhd hotfix.vhd',
  ];
  const { exitCode, stderr } = await shell(folder, commands.join(' && '), {});
  expect(exitCode, stderr).toBe(0);
  const upload = readFileSync(join(folder, 'hotfix.xsupdate'));
  work.input('keys.asc', armored('PUBLIC KEY BLOCK', readFileSync(join(folder, 'keys.gpg'))));
  work.input('pool.yaml', configuration());
  work.input('root.password', 'a password of nobody\n');
  chmodSync(join(folder, 'root.password'), 0o600);
  mkdirSync(join(folder, 'srv/nfs/patches'), { recursive: true });
  mkdirSync(join(folder, 'srv/local'));
  work.input('XS62E001.zip', makeZip({ 'XS62E001.xsupdate': upload, 'readme.txt': 'read me' }));
  return work;
}

/** The name of a place or a thing in the pages, and what stands in for it. */
export type Rewriting = readonly (readonly [pattern: RegExp, replacement: string])[];

/** What a page's commands run in. */
export interface Scene {
  readonly folder: string;
  /** Runs a command as a page has it, but for the rewriting. */
  run(command: string): Promise<CommandEnd>;
  rewritten(command: string): Promise<string>;
}

interface Servers {
  readonly files: string;
  readonly pool: string;
  readonly state: string;
  readonly password: string;
}

/** https://downloads and https://store: gives out the upload, and takes whatever is sent. */
async function fileServer(folder: string): Promise<string> {
  return await serve((request, response) => {
    if (request.method === 'PUT') {
      request.resume().on('end', () => response.writeHead(201).end());
      return;
    }
    const bytes = readFileSync(join(folder, 'hotfix.xsupdate'));
    response.writeHead(200, { 'Content-Length': bytes.length }).end(bytes);
  });
}

/** A first start of `patch-vdi serve`; its address and password are what it prints. */
async function poolServer(work: Workspace): Promise<Pick<Servers, 'pool' | 'state' | 'password'>> {
  const state = join(work.folder, 'state');
  const args = ['serve', '--state', state, '--listen', '127.0.0.1:0', '--keyring', 'keys.gpg'];
  const { child, ended } = startCli(work, args);
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  let words = '';
  child.stderr?.on('data', (part: Buffer) => (words += part.toString('utf8')));
  await expect.poll(() => words).toMatch(/serves https:\/\/\S+:\d+/);
  const port = /serves https:\/\/\S+:(\d+)/.exec(words)?.[1] ?? '';
  const password = /shown only this once:\s+(\S+)/.exec(words)?.[1] ?? '';
  work.input('pw', `${password}\n`);
  chmodSync(join(work.folder, 'pw'), 0o600);
  cpSync(join(state, 'certificate.pem'), join(work.folder, 'pool.pem'));
  return { pool: `https://localhost:${port}`, state, password };
}

function rewriting(
  { files, pool, state, password }: Servers,
  facts: Readonly<Record<string, string>>,
): Rewriting {
  const trust = `--pool ${pool} --state ${state}`;
  return [
    // Hosts.
    [/https:\/\/(?:downloads|store)\b/g, files],
    [/--pool https:\/\/xcp1 --user/g, `--pool ${pool} --user`],
    [/--pool https:\/\/xcp1 --password-file/g, `--pool ${pool} --password-file`],
    [/--pool https:\/\/xcp1/g, trust],
    [/https:\/\/localhost:8443/g, pool],
    // A server on this machine has its state and its port at their usual places.
    [/\/var\/lib\/patch-vdi/g, state],
    [/patch-vdi pool ([\w-]+)(?!.*--pool)/g, `patch-vdi pool $1 ${trust}`],
    // Nobody is there to be asked.
    [/-u root\b/g, `-u root:${password}`],
    // What stands for something in the pages.
    [/\bUUID\b/g, facts['UUID'] ?? 'UUID'],
    [/\bVDI\b/g, facts['VDI'] ?? 'VDI'],
    [/\bFINGERPRINT\b/g, facts['FINGERPRINT'] ?? 'FINGERPRINT'],
    [/734003200/g, facts['LENGTH'] ?? '0'],
    // Places of a host.
    [/\/opt\/xensource\/gpg/g, 'keys'],
    [/(?<!\w)native-tools\//g, `${REPOSITORY}/native-tools/`],
    [/patch-vdi apply /g, 'patch-vdi apply --applied-folder applied --scratch-folder tmp '],
    // Smaller, so that it takes less time.
    [/--size 200M/g, '--size 2M'],
    [/(test suite -o suite\/(?: --seed 7)?)/g, '$1 --formats raw --filesystems ext4 --size 256K'],
  ];
}

const NEEDS_POOL = /patch-vdi (?:pool|upload) |https:\/\/(?:xcp1|localhost)\b/;
const NO_POOL = { pool: 'https://no-pool', state: 'no-state', password: 'no-password' };

/** A copy of the prepared folder, with the servers that those commands need, until the test ends. */
export async function scene(prepared: Workspace, commands: readonly string[]): Promise<Scene> {
  const work = makeWorkspace();
  onTestFinished(() => work.remove());
  const { folder } = work;
  cpSync(prepared.folder, folder, { recursive: true });
  const pool = commands.some((command) => NEEDS_POOL.test(command)) ? await poolServer(work) : NO_POOL;
  const servers = { files: await fileServer(folder), ...pool };
  const env = { PATCH_VDI_PASSWORD: servers.password };
  const quietly = async (command: string): Promise<string> =>
    (await shell(folder, command, env)).stdout.trim();
  const uploadBytes = String(readFileSync(join(folder, 'hotfix.xsupdate')).length);
  const trust = `--pool ${servers.pool} --state ${servers.state} --json`;
  const rewritten = async (command: string): Promise<string> => {
    const facts: Record<string, string> = { LENGTH: uploadBytes };
    if (/\bFINGERPRINT\b/.test(command))
      facts['FINGERPRINT'] = await quietly(
        `patch-vdi verify vdi.vhd --keyring keys.gpg --json | jq -r '.signatures[0].primaryFingerprint'`,
      );
    if (/\bUUID\b/.test(command))
      facts['UUID'] = await quietly(`patch-vdi pool patches ${trust} | jq -r '.patches[0].uuid'`);
    if (/\bVDI\b/.test(command))
      facts['VDI'] = await quietly(`patch-vdi pool vdis ${trust} | jq -r '.vdis[0].uuid'`);
    return rewriting(servers, facts).reduce((text, [pattern, by]) => text.replaceAll(pattern, by), command);
  };
  return {
    folder,
    rewritten,
    async run(command) {
      return await shell(folder, await rewritten(command), env);
    },
  };
}

/** Removes what a command is about to make: the pages use one name more than once. */
export function removeOutputs(folder: string, names: readonly string[]): void {
  for (const name of names) rmSync(join(folder, name), { recursive: true, force: true });
}
