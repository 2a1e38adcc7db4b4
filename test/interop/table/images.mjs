// The images that are put before the readers: good ones of every kind, and damaged ones.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from './run-reader.mjs';

const CLI = join(import.meta.dirname, '../../../dist/cli/main.js');
const ours = (...args) =>
  execFileSync(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });

export const FORMATS = ['raw', 'vhd', 'vhd-fixed'];
export const FILESYSTEMS = ['ext4', 'ext3', 'ext2'];

/** As people name them: some readers go by the ending. */
const nameOf = (name, format, filesystem) =>
  `${name}-${filesystem}-${format}.${format === 'raw' ? 'raw' : 'vhd'}`;

/** One thing wrong in each, by the names of `patch-vdi test faults`. `layer`: who could see it. */
export const FAULTS = [
  { fault: 'superblock-zeroed', layer: 'files', format: 'raw', filesystem: 'ext4' },
  { fault: 'superblock-zeroed', layer: 'files', format: 'raw', filesystem: 'ext2' },
  { fault: 'superblock-bad-checksum', layer: 'files', format: 'raw', filesystem: 'ext4' },
  { fault: 'group-bad-checksum', layer: 'files', format: 'raw', filesystem: 'ext4' },
  { fault: 'inode-bad-checksum', layer: 'files', format: 'raw', filesystem: 'ext4' },
  { fault: 'unknown-incompatible-feature', layer: 'files', format: 'raw', filesystem: 'ext4' },
  { fault: 'filesystem-larger-than-disk', layer: 'files', format: 'raw', filesystem: 'ext4' },
  { fault: 'vhd-footer-bad-checksum', layer: 'disk', format: 'vhd', filesystem: 'ext4' },
  { fault: 'vhd-footer-copy-bad-checksum', layer: 'disk', format: 'vhd', filesystem: 'ext4' },
  { fault: 'vhd-header-bad-checksum', layer: 'disk', format: 'vhd', filesystem: 'ext4' },
  { fault: 'vhd-block-past-end', layer: 'disk', format: 'vhd', filesystem: 'ext4' },
  { fault: 'vhd-cut-before-last-block', layer: 'disk', format: 'vhd', filesystem: 'ext4' },
  { fault: 'vhd-fixed-footer-bad-checksum', layer: 'disk', format: 'vhd-fixed', filesystem: 'ext4' },
  { fault: 'vhd-fixed-size', layer: 'disk', format: 'vhd-fixed', filesystem: 'ext4' },
];

/** The upload and its digest, and what makes images of it. */
export function createImages(folder) {
  const upload = join(folder, 'upload');
  const same = ['--size', '3M', '--seed', '7', '--source-date-epoch', '1600000000'];
  // Key, patch and all ids come from the seed: the same bytes in each run. debugfs gets it out.
  const whole = join(folder, 'whole.raw');
  ours('test', 'vdi', '-o', whole, ...same);
  execFileSync('debugfs', ['-R', `dump /patch ${upload}`, whole], { stdio: 'ignore' });
  const bytes = readFileSync(upload);
  const digest = sha256(bytes);
  return {
    uploadBytes: bytes.length,
    /** @returns its path, and the SHA-256 of the upload */
    good({ format, filesystem }) {
      const path = join(folder, nameOf('good', format, filesystem));
      const keyring = `${whole}.keyring.gpg`;
      ours(
        'build',
        upload,
        '-o',
        path,
        '--keyring',
        keyring,
        '--format',
        format,
        '--filesystem',
        filesystem,
        '--quiet',
      );
      return { path, digest };
    },
    /** @returns its path, and the SHA-256 of the upload that went into it */
    damaged({ fault, format, filesystem }) {
      const path = join(folder, nameOf(fault, format, filesystem));
      const kind = ['--format', format, '--filesystem', filesystem];
      const made = ours('test', 'vdi', '-o', path, '--json', '--fault', fault, ...kind, ...same);
      return { path, digest: JSON.parse(made.toString()).upload.sha256 };
    },
  };
}
