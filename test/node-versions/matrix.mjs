/*
 * npm run test:node-versions: the package with every version of Node that it supports. It packs and installs the
 * package, fetches the versions from the registry into a temporary folder (some 100 MB), and with each of them
 *
 * - goes through the main jobs once (smoke.mjs),
 * - makes images of every kind, which must be the same, byte for byte, with all versions (outputs.mjs),
 * - with --unit: runs the unit tests of the rooms that lean on Node most: streams, sockets, TLS, zlib, processes. The
 *   version that runs this file is left out there: `npm test` has run all tests with it.
 *
 *   node test/node-versions/matrix.mjs [--unit] [major ...]
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fetchNodes, run } from './nodes.mjs';
import { differences, makeOutputs } from './outputs.mjs';
import { smoke } from './smoke.mjs';

const PROJECT = resolve(import.meta.dirname, '../..');
const SUPPORTED = ['20', '22', '24', 'latest'];
const ROOMS = ['plan', 'vhd', 'io', 'tools', 'signature', 'xenapi', 'upload', 'server'];

const { values, positionals } = parseArgs({ options: { unit: { type: 'boolean' } }, allowPositionals: true });
const folder = mkdtempSync(join(tmpdir(), 'patch-vdi-node-'));

/** @returns {string} the program, as npm installs it from the tarball */
function installPackage() {
  const name = run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], {
    cwd: PROJECT,
  });
  const installed = join(folder, 'installed');
  mkdirSync(installed);
  const options = ['--offline', '--no-audit', '--no-fund', '--prefix', installed];
  run('npm', ['install', ...options, join(folder, name)], { cwd: folder });
  return join(installed, 'node_modules/.bin/patch-vdi');
}

function runUnitTests({ version, env }) {
  if (version === process.version) return `unit tests: as this is ${version}, npm test runs them`;
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=dot',
    ...ROOMS.map((room) => `test/${room}/`),
  ];
  const own = { ...env, HOME: process.env.HOME, NO_COLOR: '1' };
  const said = run('node', args, { cwd: PROJECT, env: own });
  return said
    .split('\n')
    .filter((line) => /Test Files|Tests/.test(line))
    .join(', ')
    .replaceAll(/\s+/g, ' ');
}

let failed = false;
try {
  const nodes = fetchNodes(join(folder, 'nodes'), positionals.length > 0 ? positionals : SUPPORTED);
  const program = installPackage();
  let first;
  for (const node of nodes) {
    const say = (words) => console.log(`${node.version}: ${words}`);
    try {
      await smoke(program, node.env, join(folder, `smoke-${node.version}`));
      say('build, inspect, verify, extract, diff, serve, upload, download: as they should be');
      const files = makeOutputs(program, node.env, join(folder, `out-${node.version}`));
      first ??= { version: node.version, files };
      const different = differences(first.files, files);
      failed ||= different.length > 0;
      const words =
        different.length === 0 ? 'the same bytes as' : `other bytes (${different.join(', ')}) than`;
      say(`${files.size} files, ${words} ${first.version}`);
      if (values.unit === true) say(runUnitTests(node));
    } catch (error) {
      failed = true;
      say(`FAILED\n${error.message}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
