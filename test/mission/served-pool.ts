import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { CLI } from '../e2e/cli.js';
import { makeWorkspace, type Workspace } from '../e2e/workspace.js';
import { createClient, type XenApiClient } from '../interop/xen-api.js';
import { poolPlace, type PoolPlace } from '../pool/test-pool.js';
import { runTool, type ToolEnd } from '../server/run-tool.js';

export interface ServedOptions {
  /** Lines of the configuration below `storage_repositories:`; default: none, so that the server makes one. */
  readonly repositories?: readonly string[];
  /** More lines of the configuration. */
  readonly config?: readonly string[];
  /** A program and its arguments in front of node. */
  readonly wrapper?: readonly string[];
  /** Default: a new one, removed when the test ends. */
  readonly work?: Workspace;
  /** Default: a free port of 127.0.0.1. */
  readonly listen?: string;
  /** More arguments of `patch-vdi serve`. */
  readonly arguments?: readonly string[];
}

const START_MILLISECONDS = 20_000;
/** Those before {@link ServedOptions.arguments}. */
const BASE_ARGUMENTS = 7;

/**
 * `patch-vdi serve`, started for real from the built package, on a free port, with TLS: what a client outside of this
 * process sees of it. It can be killed and started again on the same state.
 */
export class ServedPool {
  readonly work: Workspace;
  readonly place: PoolPlace;
  readonly #arguments: readonly string[];
  readonly #wrapper: readonly string[];
  #child: ChildProcess | undefined;
  #ended: Promise<number | null> = Promise.resolve(null);
  #log = '';
  #said = '';
  #password = '';
  url = '';

  private constructor(work: Workspace, options: ServedOptions) {
    this.work = work;
    this.place = poolPlace(work.folder);
    mkdirSync(work.folder, { recursive: true });
    const { repositories = [], config = [], wrapper = [] } = options;
    const { listen = '{address: 127.0.0.1, port: 0}' } = options;
    this.#wrapper = wrapper;
    const lines = [
      `listen: ${listen}`,
      `signature: {keyrings: [${this.place.keyring}]}`,
      ...(repositories.length > 0
        ? ['storage_repositories:', ...repositories.map((line) => `  ${line}`)]
        : []),
      ...config,
    ];
    const file = work.input('pool.yaml', `${lines.join('\n')}\n`);
    const usual = ['serve', '--state', this.state, '--config', file, '--log-format', 'json'];
    this.#arguments = [...usual, ...(options.arguments ?? [])];
  }

  /** Until the test ends. */
  static async start(options: ServedOptions = {}): Promise<ServedPool> {
    const work = options.work ?? makeWorkspace();
    const served = new ServedPool(work, options);
    onTestFinished(async () => {
      await served.kill();
      if (options.work === undefined) work.remove();
    });
    await served.start();
    return served;
  }

  get state(): string {
    return join(this.work.folder, 'pool-state');
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  /** What it printed for people, in all of its lives. */
  get said(): string {
    return this.#said;
  }

  /** Lines of its log, in all of its lives. */
  get log(): readonly Readonly<Record<string, unknown>>[] {
    const lines = this.#log.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /**
   * Starts it again, on the same state; resolves when it listens.
   *
   * @param onSamePort as the other hosts of a pool know it; else any free one
   */
  async start(onSamePort = false): Promise<void> {
    const listen = onSamePort ? ['--listen', `:${new URL(this.url).port}`] : [];
    await this.#launch([...this.#arguments, ...listen]);
  }

  async #launch(args: readonly string[]): Promise<void> {
    const env = { PATH: process.env['PATH'], HOME: this.work.folder, TMPDIR: this.work.tmp };
    const [program = '', ...rest] = [...this.#wrapper, process.execPath, CLI, ...args];
    const child = spawn(program, rest, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#ended = new Promise((done) => child.once('close', (code) => done(code)));
    child.stdout.on('data', (part: Buffer) => (this.#log += part.toString()));
    const before = this.#said.length;
    await new Promise<void>((listens, failed) => {
      const words = (): string => this.#said.slice(before);
      const timer = setTimeout(() => failed(new Error(`it does not listen: ${words()}`)), START_MILLISECONDS);
      child.stderr.on('data', (part: Buffer) => {
        this.#said += part.toString();
        const url = /serves (https?:\/\/\S+)/.exec(words())?.[1];
        if (url === undefined) return;
        this.url = url;
        clearTimeout(timer);
        listens();
      });
      child.once('close', (code) => {
        clearTimeout(timer);
        failed(new Error(`it ended with ${code}: ${words()}`));
      });
    });
    if (this.#password !== '') return;
    this.#password = /password of root[^\n]*\n\n\s*(\S+)/.exec(this.#said)?.[1] ?? '';
    writeFileSync(this.#curlConfig, `user = "root:${this.#password}"\n`, { mode: 0o600 });
  }

  get #curlConfig(): string {
    return join(this.work.folder, '.curlrc');
  }

  get password(): string {
    return this.#password;
  }

  /** Starts it again with other arguments behind the usual ones; only this time. */
  async startWith(...args: readonly string[]): Promise<void> {
    await this.#launch([...this.#arguments.slice(0, BASE_ARGUMENTS), ...args]);
  }

  /** A file with root's password. */
  get passwordFile(): string {
    const path = join(this.work.folder, 'password');
    writeFileSync(path, `${this.#password}\n`, { mode: 0o600 });
    return path;
  }

  /** As a slave pins it: `AA:BB:…`. */
  get fingerprint(): string {
    return new X509Certificate(readFileSync(this.certificate)).fingerprint256;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** SIGTERM, as an init system does it. @returns the exit code */
  async stop(): Promise<number | null> {
    this.#child?.kill('SIGTERM');
    return await this.#ended;
  }

  get certificate(): string {
    return join(this.state, 'certificate.pem');
  }

  /** curl as root, with the server's certificate; the password through its configuration, not its arguments. */
  curl(...args: readonly string[]): Promise<ToolEnd> {
    const config = this.#curlConfig;
    const [target = '', ...others] = args.toReversed();
    const all = ['-sS', '--config', config, '--cacert', this.certificate, ...others.toReversed()];
    return runTool('curl', [...all, `${this.url}${target}`]);
  }

  /** The npm package, connected; it follows the pool. */
  async xenApi(): Promise<XenApiClient> {
    const client = createClient({
      url: this.url,
      auth: { user: 'root', password: this.#password },
      debounce: 10,
      // It knows no other way; curl and Python check the certificate.
      allowUnauthorized: true,
    });
    await client.connect();
    await client.objectsFetched;
    onTestFinished(() => client.disconnect().catch(() => undefined));
    return client;
  }

  /**
   * Python's XML-RPC client: runs lines of Python with `call(method, *parameters)`, which gives the Value or raises,
   * and the session in use.
   *
   * @returns what the program printed
   */
  async python(...lines: readonly string[]): Promise<string> {
    const program = [
      'import json, ssl, sys, xmlrpc.client',
      'url, certificate, password = json.load(sys.stdin)',
      'context = ssl.create_default_context(cafile=certificate)',
      'server = xmlrpc.client.ServerProxy(url, context=context)',
      'class Failure(Exception): pass',
      'def raw(method, *parameters):',
      '    answer = getattr(server, method)(*parameters)',
      '    if answer["Status"] != "Success": raise Failure(*answer["ErrorDescription"])',
      '    return answer["Value"]',
      'session = raw("session.login_with_password", "root", password, "1.0", "python")',
      'def call(method, *parameters): return raw(method, session, *parameters)',
      ...lines,
    ].join('\n');
    const input = JSON.stringify([this.url, this.certificate, this.#password]);
    const ended = await runTool('python3', ['-c', program], input);
    if (ended.exitCode !== 0) throw new Error(`python3: ${ended.stderr}`);
    return ended.stdout.trim();
  }

  #session = '';

  /** A session of this life of the server. */
  async logIn(): Promise<void> {
    this.#session = String(
      await this.#rpc('session.login_with_password', 'root', this.#password, '1.0', 'test'),
    );
  }

  /** A call over JSON-RPC, in the session of {@link logIn}. @throws Error with the description of the failure */
  call(method: string, ...parameters: readonly unknown[]): Promise<unknown> {
    return this.#rpc(method, this.#session, ...parameters);
  }

  async #rpc(method: string, ...params: readonly unknown[]): Promise<unknown> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    const answer = await this.send('POST', '/jsonrpc', Buffer.from(body));
    const { result, error } = JSON.parse(answer.body.toString()) as Record<string, unknown>;
    if (error !== undefined && error !== null) throw new Error(JSON.stringify(error));
    return result;
  }

  /** One request as root, on a connection of its own. */
  send(method: string, target: string, body?: Uint8Array): Promise<{ status: number; body: Buffer }> {
    const { hostname, port } = new URL(this.url);
    const ca = readFileSync(this.certificate);
    const length = body === undefined ? {} : { 'Content-Length': String(body.length) };
    return new Promise((resolve, reject) => {
      const auth = `root:${this.#password}`;
      const options = {
        hostname,
        port,
        method,
        path: target,
        ca,
        auth,
        headers: length,
        agent: false,
      } as const;
      const request = httpsRequest(options, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part)).on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }));
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Names of all disks and temporary files below the state folder and the SRs there. */
  files(): string[] {
    const names = readdirSync(this.state, { recursive: true, encoding: 'utf8' });
    return names.filter((name) => /\.raw$|\.tmp|^tmp\/|^patches\//.test(name)).sort();
  }
}
