// Programs that read our images and know nothing of us, all to be had from Debian.
//
// `read(path, image)` gets the image and what it is (format, filesystem, folder: an empty one) and returns what `run`
// does, with the bytes of `patch` as stdout; or an outcome of its own.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run-reader.mjs';

/** The first of several results that failed, or the last. */
function inTurn(...steps) {
  let result;
  for (const step of steps) {
    result = step(result);
    if (result.exitCode !== 0) return result;
  }
  return result;
}

const contentOf = (path) => ({
  exitCode: 0,
  stdout: existsSync(path) ? readFileSync(path) : Buffer.alloc(0),
  words: '',
});

/** It exits 0 whatever happens, and says what is wrong on either stream. */
function readWithDebugfs(disk, { folder }) {
  const copy = join(folder, 'dumped');
  const { exitCode, stdout, words } = run('debugfs', ['-R', `dump /patch ${copy}`, disk]);
  const said = `${stdout.toString()}${words.replace(/^debugfs \d.*\n/, '')}`;
  return { ...contentOf(copy), words: said, exitCode: said.trim() === '' ? exitCode : 1 };
}

/** What `read` gets out of a folder while something is mounted there. */
function throughMount(mount, folder, read) {
  mkdirSync(folder);
  const mounted = mount(folder);
  if (mounted.exitCode !== 0) return { ...mounted, stdout: Buffer.alloc(0) };
  const result = read(folder);
  const given = run('umount', [folder]);
  // Neither reading throws, and what stays mounted would be in everybody's way.
  if (given.exitCode !== 0) throw new Error(`umount: ${given.words}`);
  return result;
}

function readWithQemu(path, { format, folder }) {
  const raw = join(folder, 'raw');
  const from = format === 'raw' ? 'raw' : 'vpc';
  return inTurn(
    () => run('qemu-img', ['convert', '-f', from, '-O', 'raw', path, raw]),
    () => readWithDebugfs(raw, { folder }),
  );
}

/** It reads no files. Exit 0 alone proves nothing with `-n`: it must also have nothing to say. */
function judgeWithE2fsck(path) {
  const { exitCode, stdout, words } = run('e2fsck', ['-fn', path]);
  const remarks = stdout
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !/^Pass [1-5]: |: \d+\/\d+ files \(/.test(line));
  if (exitCode === 0 && remarks.length === 0) return { outcome: 'clean' };
  return { outcome: exitCode >= 8 ? 'refuses' : 'complains', words: [words, ...remarks].join('\n') };
}

function readWithKernel(path, { filesystem, folder }) {
  const options = ['-t', filesystem, '-o', 'loop,ro,nosuid,nodev,noexec', path];
  return throughMount(
    (point) => run('mount', [...options, point]),
    join(folder, 'mount'),
    (point) => run('cat', [join(point, 'patch')]),
  );
}

function readWithSleuthkit(path, { format }) {
  const type = format === 'raw' ? 'raw' : 'vhd';
  const listed = run('fls', ['-i', type, path]);
  const inode = /^r\/\S+ (\d+):\s+patch$/m.exec(listed.stdout.toString())?.[1];
  return inode === undefined
    ? { ...listed, stdout: Buffer.alloc(0) }
    : run('icat', ['-i', type, path, inode]);
}

function readWithLibvhdi(path, { folder }) {
  return throughMount(
    (point) => {
      const made = run('vhdimount', [path, point]);
      // It prints what is wrong on standard output or error, as it comes.
      return { ...made, words: `${made.words}\n${made.stdout.toString()}` };
    },
    join(folder, 'vhdi'),
    (point) => readWithDebugfs(join(point, 'vhdi1'), { folder }),
  );
}

function readWithGrub(path, { folder }) {
  const copy = join(folder, 'copy');
  const made = run('grub-fstest', [path, 'cp', '(loop0)/patch', copy]);
  // It exits 0 whatever happens.
  return { ...contentOf(copy), words: made.words, exitCode: made.words === '' ? made.exitCode : 1 };
}

/** How libguestfs starts a machine here; found once. */
let guestfsSettings;
function startGuestfish(args) {
  const ways =
    guestfsSettings === undefined ? [[], ['LIBGUESTFS_BACKEND_SETTINGS=force_tcg']] : [guestfsSettings];
  let made;
  for (const settings of ways) {
    made = run('env', ['LIBGUESTFS_BACKEND=direct', ...settings, 'guestfish', ...args]);
    if (!/guestfs_launch failed/.test(made.words)) {
      guestfsSettings = settings;
      return made;
    }
  }
  return made;
}

function readWithGuestfish(path, { format, folder }) {
  const copy = join(folder, 'copy');
  const disk = [`--format=${format === 'raw' ? 'raw' : 'vpc'}`, '-a', path];
  const made = startGuestfish(['--ro', ...disk, '-m', '/dev/sda:/', 'download', '/patch', copy]);
  return { ...contentOf(copy), words: made.words, exitCode: made.exitCode };
}

/** `layer`: what it reads by itself. `disk`: VHDs; the files in them are read with debugfs. `knowsVhd`: both. */
export const READERS = [
  {
    name: 'qemu-img',
    layer: 'disk',
    needs: ['qemu-img', 'debugfs'],
    package: 'qemu-utils',
    version: ['qemu-img', '--version'],
    read: readWithQemu,
  },
  {
    name: 'libvhdi',
    layer: 'disk',
    needs: ['vhdimount', 'debugfs'],
    package: 'libvhdi-utils',
    version: ['vhdimount', '-V'],
    read: readWithLibvhdi,
  },
  {
    name: 'e2fsck',
    layer: 'files',
    needs: ['e2fsck'],
    package: 'e2fsprogs',
    version: ['e2fsck', '-V'],
    read: judgeWithE2fsck,
  },
  {
    name: 'debugfs',
    layer: 'files',
    needs: ['debugfs'],
    package: 'e2fsprogs',
    version: ['debugfs', '-V'],
    read: readWithDebugfs,
  },
  {
    name: 'kernel',
    layer: 'files',
    needs: ['mount', 'umount'],
    package: 'linux-image',
    version: ['uname', '-r'],
    read: readWithKernel,
    root: true,
  },
  {
    name: 'grub',
    layer: 'files',
    needs: ['grub-fstest'],
    package: 'grub-common',
    version: ['grub-fstest', '--version'],
    read: readWithGrub,
  },
  {
    name: '7-Zip',
    layer: 'both',
    needs: ['7zz'],
    package: '7zip',
    version: ['7zz'],
    read: (path) => run('7zz', ['x', '-so', path, 'patch']),
  },
  {
    name: 'sleuthkit',
    layer: 'both',
    needs: ['fls', 'icat'],
    package: 'sleuthkit',
    version: ['fls', '-V'],
    read: readWithSleuthkit,
  },
  {
    name: 'guestfish',
    layer: 'both',
    needs: ['guestfish'],
    package: 'libguestfs-tools',
    version: ['guestfish', '--version'],
    read: readWithGuestfish,
  },
];

/** Why a reader cannot be asked here; undefined: it can. */
export function missing({ needs, root }) {
  const absent = needs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
  if (absent.length > 0) return 'not installed';
  return root === true && process.geteuid() !== 0 ? 'needs root' : undefined;
}
