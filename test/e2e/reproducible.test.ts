import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { CLI, expectNothingLeft } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

/*
 * The same input, options, seed and epoch make the same bytes, whatever the host is like. Each test changes one thing
 * about the host, and makes everything that the kit and `build` make.
 */

interface Host {
  readonly env?: Readonly<Record<string, string>>;
  /** A program and its arguments in front of node. */
  readonly wrapper?: readonly string[];
  /** Below the workspace. */
  readonly folder?: string;
}

function run(work: Workspace, host: Host, args: readonly string[]): void {
  const [program = '', ...rest] = [...(host.wrapper ?? []), process.execPath, CLI, ...args];
  const cwd = join(work.folder, host.folder ?? '.');
  mkdirSync(cwd, { recursive: true });
  const { status, stderr } = spawnSync(program, rest, {
    encoding: 'utf8',
    cwd,
    env: { PATH: process.env['PATH'], HOME: work.folder, TMPDIR: work.tmp, ...host.env },
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
}

const EPOCH = ['--source-date-epoch', '1700000000'];

/** One of every kind; small, because each is made for each kind of host. */
const SUITE = ['--formats', 'raw,vhd', '--filesystems', 'ext3,ext4', '--seed', '7', '--size', '256K'];

/** Makes everything in `out` of a new workspace. @returns the digest of each file, by name */
function makeAll(host: Host): Map<string, string> {
  const work = workspace();
  const upload = work.input('upload', Buffer.alloc(300_001, 'a line of text\n'));
  for (const format of ['raw', 'vhd', 'vhd-fixed']) {
    for (const filesystem of ['ext4', 'ext3', 'ext2']) {
      const output = work.output(`build-${filesystem}.${format}`);
      const shape = ['--format', format, '--filesystem', filesystem];
      run(work, host, ['build', upload, '-o', output, ...shape, '--allow-unsigned', '--quiet', ...EPOCH]);
    }
  }
  const patch = ['--size', '300001', '--seed', '7'];
  const keys = work.output('keys');
  run(work, host, ['test', 'key', '-o', keys, '--seed', '7']);
  run(work, host, ['test', 'patch', '-o', work.output('t.xsupdate'), '--sign', keys, ...patch]);
  run(work, host, ['test', 'vdi', '-o', work.output('t.vhd'), ...patch, ...EPOCH]);
  run(work, host, ['test', 'suite', '-o', work.output('suite'), ...SUITE]);
  expectNothingLeft(work);
  return digests(work.out);
}

/** What gpg keeps in a home is gpg's own. */
const GPGS_OWN = /^keys\/(?!keyring\.gpg|key\.asc|FINGERPRINT)/;

function digests(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const names = files.map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
  const wanted = names.filter((name) => !GPGS_OWN.test(name)).sort();
  return new Map(
    wanted.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );
}

let ordinary: Map<string, string> | undefined;
const usual = (): Map<string, string> => (ordinary ??= makeAll({ env: { TZ: 'UTC', LC_ALL: 'C' } }));

/** A configuration that would change every file system, if anybody read it. */
const HOSTILE_CONFIG = `[defaults]
  base_features = sparse_super,filetype,resize_inode,dir_index,ext_attr
  default_mntopts = acl,user_xattr
  enable_periodic_fsck = 1
  blocksize = 1024
  inode_size = 128
  inode_ratio = 4096
  reserved_ratio = 20
  hash_alg = tea
[fs_types]
  ext4 = {
    features = has_journal,extent,casefold
  }
  ext3 = {
    features = has_journal
    blocksize = 2048
  }
  patch = {
    features = has_journal
    blocksize = 1024
  }
`;

/** Everything about a host that no privilege is needed for, at once: each kind would show. */
const otherHost = (work: Workspace): Host => ({
  env: {
    TZ: 'Asia/Kathmandu',
    LC_ALL: 'tr_TR.UTF-8',
    LANG: 'tr_TR.UTF-8',
    LANGUAGE: 'tr',
    MKE2FS_CONFIG: work.input('mke2fs.conf', HOSTILE_CONFIG),
    E2FSPROGS_FAKE_TIME: '12345',
    MKE2FS_SYNC: '1',
    MKE2FS_DEVICE_SECTSIZE: '4096',
    POSIXLY_CORRECT: '1',
    GNUPGHOME: '/nowhere',
  },
  wrapper: ['sh', '-c', 'umask 0077 && exec "$@"', 'sh'],
  folder: 'some/where/else',
});

/** All is made twice in a test. */
const TIMEOUT = 300_000;

describe('the same bytes', () => {
  test(
    'whatever the time zone, the locale, the umask, the folder, MKE2FS_CONFIG and other variables',
    { timeout: TIMEOUT },
    () => {
      const first = usual();
      expect(first.size).toBeGreaterThan(80);
      expect(makeAll(otherHost(workspace()))).toEqual(first);
    },
  );

  test('whatever /etc/mke2fs.conf says', { timeout: TIMEOUT }, (context) => {
    requireTool(context, 'unshare', 'mount');
    requireRoot(context);
    const work = workspace();
    const config = work.input('mke2fs.conf', HOSTILE_CONFIG);
    // The mount is seen by this one command and its children.
    const script =
      'mount --bind "$0" /etc/mke2fs.conf && grep -q periodic_fsck /etc/mke2fs.conf && exec "$@"';
    const wrapper = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, config];
    expect(makeAll({ wrapper })).toEqual(usual());
  });
});

test('other bytes with another seed, or another epoch: the comparison can fail', () => {
  const work = workspace();
  const vdi = (name: string, ...args: string[]): void =>
    run(work, {}, ['test', 'vdi', '--fault', 'no-scratch-left', '-o', work.output(name), ...args]);
  vdi('a.vhd', '--seed', '7');
  vdi('b.vhd', '--seed', '8');
  vdi('c.vhd', '--seed', '7', '--source-date-epoch', '1600000000');
  vdi('d.vhd', '--seed', '7');
  const all = digests(work.out);
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => all.get(`${name}.vhd`));
  expect(a).toBeDefined();
  expect(d).toBe(a);
  expect(new Set([a, b, c]).size).toBe(3);
});

test('the judge of this file sees one changed byte', () => {
  const work = workspace();
  const path = work.output('x');
  writeFileSync(path, 'a');
  const before = digests(work.out);
  writeFileSync(path, 'b');
  expect(digests(work.out)).not.toEqual(before);
});
