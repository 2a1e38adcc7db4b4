// Other ways to make the same disk out of the same upload: what a person would type. They run with `sh -e`.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIB } from './context.mjs';

/** The upload from a pipe into a file; with a key ring, checked beside that, as far as a shell can. */
const store = ({ source, keyring }, path) =>
  keyring === undefined
    ? `cat ${source} | cat > ${path}`
    : `cat ${source} | tee ${path} | gpgv --keyring ${keyring} 2>/dev/null`;

/** mke2fs -d, genext2fs and virt-make-fs want a folder with a file called `patch` in it. */
const staged = (job, make) => `mkdir ${job.temporary}/root
  ${store(job, `${job.temporary}/root/patch`)}
  ${make}
  rm -r ${job.temporary}/root`;

const RAW_MAKERS = {
  'mke2fs -d': (job, raw) =>
    staged(
      job,
      `mke2fs -q -F -t ext4 -d ${job.temporary}/root ${raw} ${job.diskBytes / 1024}k >/dev/null 2>&1`,
    ),
  genext2fs: (job, raw) =>
    staged(job, `genext2fs -B 4096 -b ${job.diskBytes / 4096} -d ${job.temporary}/root ${raw} 2>/dev/null`),
  // What XAPI did, as root: the mount lies beside the disk, so that what is written through it counts as the disk.
  'mount, copy': (job, raw) => `truncate -s ${job.diskBytes} ${raw}
    mke2fs -q -F -t ext4 ${raw} 2>/dev/null
    mkdir ${raw}.mnt
    mount -o loop ${raw} ${raw}.mnt
    trap 'umount ${raw}.mnt' EXIT
    ${store(job, `${raw}.mnt/patch`)}
    trap - EXIT
    umount ${raw}.mnt
    rmdir ${raw}.mnt`,
  'virt-make-fs': (job, raw) =>
    staged(
      job,
      `env ${job.guestfs.settings} virt-make-fs --type=ext4 --size=${job.diskBytes} --format=raw ${job.temporary}/root ${raw} 2>/dev/null`,
    ),
};

const CONVERTERS = {
  'qemu-img': {
    vhd: (raw, output) => `qemu-img convert -f raw -O vpc -o force_size=on ${raw} ${output}`,
    'vhd-fixed': (raw, output) =>
      `qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on ${raw} ${output}`,
  },
  'vhd-lib': Object.fromEntries(
    ['vhd', 'vhd-fixed'].map((format) => [
      format,
      (raw, output) =>
        `${process.execPath} ${join(import.meta.dirname, 'vhd-lib-write.mjs')} ${format} ${raw} ${output}`,
    ]),
  ),
};

/** By format, the ways to it: how the raw disk is made, and what makes a VHD of that. */
const WAYS = {
  raw: [['mke2fs -d'], ['genext2fs'], ['mount, copy'], ['virt-make-fs']],
  vhd: [
    ['mke2fs -d', 'qemu-img'],
    ['mke2fs -d', 'vhd-lib'],
    ['genext2fs', 'qemu-img'],
    ['mount, copy', 'qemu-img'],
    ['virt-make-fs', 'qemu-img'],
  ],
  'vhd-fixed': [
    ['mke2fs -d', 'qemu-img'],
    ['mke2fs -d', 'vhd-lib'],
    ['mount, copy', 'qemu-img'],
  ],
};

export const FORMATS = Object.keys(WAYS);

/** What each does not do, for the report. */
export const LIMITS = [
  'None of them holds back the disk until the signature is good: it is checked while the upload is stored, and the disk of a bad upload is there, or half there, for somebody to delete.',
  '`mke2fs -d`: stores the upload in a folder first. Its disk has a journal and backups of the superblock; ours has neither.',
  '`genext2fs`: stores the upload first; ext2 only.',
  "`mount, copy` is what XAPI did: mkfs, a loop mount, the upload written through it. It needs root, lets the kernel mount a disk beside the host's own ones, and its processor time does not include the kernel's threads for the loop device.",
  '`virt-make-fs`: stores the upload, packs it with tar, and starts a small virtual machine; where the processor lends it no help (KVM), that machine is emulated (one run; without `--full` only for raw disks that are not signed).',
  '`qemu-img`: needs the whole raw disk first. By itself it rounds the size up to what a cylinder geometry can say; here `force_size=on` prevents that.',
  '`vhd-lib` 0.7.2: needs the whole raw disk first, and two passes over it; it rounds the size to its geometry, and its fixed disks lose 1 MiB of each gap of zeros that is a whole number of MiB (the verdict shows it).',
];

/** How libguestfs starts here: settings for env(1), or why it does not. */
export function findGuestfs() {
  const folder = mkdtempSync(join(tmpdir(), 'pv-guestfs-'));
  try {
    mkdirSync(join(folder, 'root'));
    writeFileSync(join(folder, 'root', 'file'), 'text\n');
    let reason = '';
    // With the processor's help where there is some; emulated elsewhere.
    // Its machine is built in the cache, this once.
    const common = 'LIBGUESTFS_BACKEND=direct LIBGUESTFS_CACHEDIR=/var/tmp';
    for (const settings of [common, `${common} LIBGUESTFS_BACKEND_SETTINGS=force_tcg`]) {
      const args = [...settings.split(' '), 'virt-make-fs', '--type=ext4', '--size=16M'];
      const made = spawnSync('env', [...args, join(folder, 'root'), join(folder, 'raw')], {
        encoding: 'utf8',
        timeout: 120_000,
      });
      if (made.status === 0) return { settings, emulated: settings.includes('force_tcg') };
      if (made.status === 127) return { reason: 'not installed' };
      reason =
        made.stderr
          .trim()
          .split('\n')
          .find((line) => line.includes('error')) ?? `exit ${made.status}`;
    }
    return { reason };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param job source, bytes (of the source), keyring (undefined: do not check), diskBytes, temporary (a folder), output
 * (a path whose folder is the output's own), guestfs (what findGuestfs says, or undefined: leave virt-make-fs out), full
 * @returns name and script of each way; `once`: takes so long that one run must do, and none below strace, which stops
 * genext2fs at each block of 4 KiB
 */
export function peersOf(format, job) {
  return WAYS[format]
    .filter(([maker]) => maker !== 'virt-make-fs' || hasGuestfs(format, job))
    .map(([maker, converter]) => {
      const name = [maker, converter].filter(Boolean).join(', ');
      const once = maker === 'virt-make-fs' ? job.guestfs.emulated : isSlow(maker, job);
      if (converter === undefined) return { name, once, script: RAW_MAKERS[maker](job, job.output) };
      const raw = join(job.temporary, 'disk.raw');
      const convert = CONVERTERS[converter][format](raw, job.output);
      return { name, once, script: `${RAW_MAKERS[maker](job, raw)}\n${convert}\nrm ${raw}` };
    });
}

const isSlow = (maker, { bytes }) => maker === 'genext2fs' && bytes > 256 * MIB;

/** An emulated machine is so slow that, but for full runs, it makes one raw disk of each size, and no more. */
function hasGuestfs(format, { guestfs, keyring, full }) {
  if (guestfs?.settings === undefined) return false;
  return !guestfs.emulated || full || (format === 'raw' && keyring === undefined);
}
