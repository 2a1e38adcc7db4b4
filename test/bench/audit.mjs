// One run of a way to make a disk, looked at closely and not timed: what it writes, and whether the disk is right.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIB } from './context.mjs';

const CALLS = 'write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice';
/** These name the file that they read first. */
const TARGET_IS_SECOND = new Set(['copy_file_range', 'splice']);

/** Of one line of strace: which file got how many bytes; undefined: none did. */
export function writtenBy(line) {
  const call = /^(\w+)\((.*)\)\s+= (\d+)$/.exec(line);
  if (call === null) return undefined;
  const [, name, args, bytes] = call;
  const paths = [...args.matchAll(/\d+<([^>]*)>/g)].map((match) => match[1]);
  const path = paths[TARGET_IS_SECOND.has(name) ? 1 : 0];
  if (path === undefined || !path.startsWith('/') || path.startsWith('/dev/pts') || path === '/dev/null')
    return undefined;
  return { path, bytes: Number(bytes) };
}

/**
 * Runs a script below strace, and adds up the bytes that its processes hand to the kernel for files.
 *
 * @param outputFolder what is written in there is the output
 * @returns bytes for other files, and for the output
 */
export function writtenBytes(script, outputFolder) {
  const folder = mkdtempSync(join(tmpdir(), 'pv-trace-'));
  try {
    const options = [
      '-ff',
      '-qq',
      '--seccomp-bpf',
      '-s',
      '0',
      '-y',
      '-e',
      `trace=${CALLS}`,
      '-e',
      'signal=none',
    ];
    execFileSync('strace', [...options, '-o', join(folder, 't'), 'sh', '-ec', script], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    const sums = { temporary: 0, output: 0 };
    for (const name of readdirSync(folder)) {
      for (const line of readFileSync(join(folder, name), 'utf8').split('\n')) {
        const written = writtenBy(line);
        if (written === undefined) continue;
        sums[written.path.startsWith(`${outputFolder}/`) ? 'output' : 'temporary'] += written.bytes;
      }
    }
    return sums;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `100.2 (62.1)`: MiB of the file, and what it takes on the disk where that is less. */
export function sizeText(path) {
  const { size, blocks } = statSync(path);
  const taken = blocks * 512;
  return taken < size * 0.95
    ? `${(size / MIB).toFixed(0)} (${(taken / MIB).toFixed(0)})`
    : (size / MIB).toFixed(0);
}

/** The SHA-256 of `patch`, as debugfs reads it. */
function patchDigest(raw) {
  const digest = execFileSync('sh', ['-c', `debugfs -R 'cat /patch' '${raw}' 2>/dev/null | sha256sum`]);
  return digest.toString().slice(0, 64);
}

export const fileDigest = (path) => execFileSync('sha256sum', [path]).toString().slice(0, 64);

/** What e2fsck says of the disk, and debugfs of the bytes in it. */
export function verdictOnDisk(path, format, expectedDigest) {
  const raw = format === 'raw' ? path : `${path}.judged`;
  try {
    if (format !== 'raw') {
      const made = spawnSync('qemu-img', ['convert', '-f', 'vpc', '-O', 'raw', path, raw], {
        encoding: 'utf8',
      });
      if (made.status !== 0) return 'qemu-img refuses it';
    }
    const { status } = spawnSync('e2fsck', ['-fn', raw], { encoding: 'utf8' });
    const bytes = patchDigest(raw) === expectedDigest ? 'equal' : 'DIFFERENT';
    return `${status === 0 ? 'clean' : 'ERRORS'}, ${bytes}`;
  } finally {
    if (raw !== path) rmSync(raw, { force: true });
  }
}
