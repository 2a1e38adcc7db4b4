/*
 * npm run test:node-versions: the same bytes with every version of Node that we support. It fetches the other versions
 * from the registry into a temporary folder (some 100 MB), so CI does not run it.
 *
 *   node test/node-versions/compare.mjs [major ...]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const CLI = resolve(import.meta.dirname, '../../dist/cli/main.js');
const MAJORS = process.argv.length > 2 ? process.argv.slice(2) : ['20', '22', '24'];
const EPOCH = ['--source-date-epoch', '1700000000'];
const folder = mkdtempSync(join(tmpdir(), 'patch-vdi-node-'));

function run(program, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (status !== 0) throw error ?? new Error(`${program} ${args.join(' ')}: exit ${status}\n${stderr}`);
  return stdout.trim();
}

/** @returns the paths of node's binaries */
function fetchNodes() {
  const packages = MAJORS.map(
    (major) => `node-${major}@npm:node-${process.platform}-${process.arch}@${major}`,
  );
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...packages], { cwd: folder });
  return MAJORS.map((major) => join(folder, 'node_modules', `node-${major}`, 'bin/node'));
}

function digests(out) {
  const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files
      .map(({ parentPath, name }) => join(parentPath, name))
      .sort()
      .map((path) => [
        path.slice(out.length + 1),
        createHash('sha256').update(readFileSync(path)).digest('hex'),
      ]),
  );
}

/** Everything that is to be the same. */
function makeAll(node) {
  const out = mkdtempSync(join(folder, 'out-'));
  const cli = (...args) => run(node, [CLI, ...args], { cwd: out });
  writeFileSync(join(out, 'upload'), Buffer.alloc(5_000_001, 'a line of text\n'));
  for (const format of ['raw', 'vhd', 'vhd-fixed']) {
    for (const filesystem of ['ext4', 'ext3', 'ext2']) {
      const shape = ['--format', format, '--filesystem', filesystem];
      cli('build', 'upload', '-o', `${filesystem}.${format}`, ...shape, '--allow-unsigned', ...EPOCH);
    }
  }
  const vdi = ['--size', '5000001', '--seed', '7'];
  cli('test', 'vdi', '-o', 't.vhd', ...vdi, ...EPOCH);
  cli('test', 'suite', '-o', 'suite', '--seed', '7');
  return digests(out);
}

let failed = false;
try {
  const [first, ...others] = fetchNodes().map((node) => {
    const version = run(node, ['--version']);
    const files = makeAll(node);
    console.log(`${version}: ${files.size} files`);
    return { version, files };
  });
  for (const { version, files } of others) {
    const different = [...first.files]
      .filter(([name, digest]) => files.get(name) !== digest)
      .map(([name]) => name);
    failed ||= different.length > 0 || files.size !== first.files.size;
    console.log(
      `${version} and ${first.version}: ${different.length === 0 ? 'the same bytes' : different.join(', ')}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
