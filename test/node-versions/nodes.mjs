/* Versions of Node from the registry, and how to start programs with one of them. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Runs a program to its end.
 *
 * @returns {string} its standard output. Throws if it does not exit with `expected`.
 */
export function run(program, args, { expected = 0, ...options } = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (status === expected) return stdout.trim();
  throw error ?? new Error(`${program} ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`);
}

/**
 * One version of Node: `bin` is its folder, which stands first in the PATH of `env`. What starts with
 * `#!/usr/bin/env node` runs with it.
 */
function nodeIn(bin, home) {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}`, HOME: home };
  return { bin, env, version: run('node', ['--version'], { env }) };
}

/** Fetches versions of Node (a major, or `latest`) into a folder, some 25 MB each; one that comes twice counts once. */
export function fetchNodes(folder, wanted) {
  mkdirSync(folder);
  const { platform, arch } = process;
  const packages = wanted.map((name) => `node-${name}@npm:node-${platform}-${arch}@${name}`);
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...packages], { cwd: folder });
  const nodes = wanted.map((name) => nodeIn(join(folder, 'node_modules', `node-${name}`, 'bin'), folder));
  return nodes.filter(({ version }, at) => nodes.findIndex((node) => node.version === version) === at);
}

/** Starts a program that says on standard error when it is ready, by a line that `ready` matches. */
export async function startUntil(program, args, ready, milliseconds, options) {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
  const ended = new Promise((done) => child.once('close', done));
  let said = '';
  const found = await new Promise((done, failed) => {
    const fail = (why) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      failed(new Error(`${program} ${args.join(' ')}: ${why}\n${said}`));
    };
    const timer = setTimeout(() => fail('it is not ready'), milliseconds);
    child.once('error', (error) => fail(error.message));
    void ended.then((code) => fail(`exit ${code}`));
    child.stderr.on('data', (part) => {
      said += part;
      const match = ready.exec(said);
      if (match === null) return;
      clearTimeout(timer);
      done(match);
    });
  });
  /** @returns the exit code */
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { found, said: () => said, stop };
}
