import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { runJudge, verdictAgainst } from '../../oracles/run-judge.js';

/*
 * What programs that are not ours make of an image: qemu-img, e2fsck, the kernel, gpgv. No code of src/ is used.
 */

/** The part of a manifest's expectations that others can judge; null where there is nothing to judge. */
export interface Judgement {
  readonly qemuImg: 'converts' | 'refuses' | null;
  readonly fsck: 'clean' | 'complains' | 'refuses' | null;
  readonly mount: {
    readonly readOnly: 'mounts' | 'refuses';
    readonly writable: 'mounts' | 'refuses';
    readonly patch: 'whole' | 'damaged' | 'unreadable' | 'absent' | null;
  } | null;
  readonly gpgv: 'good' | 'bad' | null;
}

export interface JudgedImage {
  readonly path: string;
  readonly isVhd: boolean;
  /** SHA-256 of what `patch` is to hold. */
  readonly uploadSha256: string;
  readonly keyring: string;
  readonly signature: string | null;
}

function converts(path: string, raw: string): boolean {
  const { exitCode, stderr } = runJudge('qemu-img', ['convert', '-f', 'vpc', '-O', 'raw', path, raw]);
  return exitCode === 0 && stderr === '';
}

/** What e2fsck prints about a file system it has nothing to say about. */
const HARMLESS_LINE = /^$|^Pass [1-5]: |: \d+\/\d+ files \(/;

/**
 * e2fsck(8), EXIT CODE: 4 errors left uncorrected, 8 operational error, 16 usage. With 0 it may have had something to
 * say all the same.
 */
function fsck(raw: string): Exclude<Judgement['fsck'], null> {
  const result = runJudge('e2fsck', ['-fn', raw]);
  const { exitCode } = result;
  const remarks = result.stdout.split('\n').filter((line) => !HARMLESS_LINE.test(line));
  if (exitCode === 0) return remarks.length === 0 ? 'clean' : 'complains';
  if (exitCode === 4) return 'complains';
  if (exitCode !== null && (exitCode & 8) !== 0 && (exitCode & 16) === 0) return 'refuses';
  throw verdictAgainst('e2fsck', raw, result);
}

/** What mount(8) says when the kernel does not take a file system; anything else is no refusal by the kernel. */
const REFUSAL =
  /wrong fs type|probably corrupted filesystem|can't read superblock|cannot mount .* read-only|mount\(2\) system call failed|Structure needs cleaning|Bad message/;

/** Mounts a device, looks, unmounts. @returns undefined when the kernel refuses */
function whileMounted<T>(
  device: string,
  options: string,
  work: string,
  use: (folder: string) => T,
): T | undefined {
  const folder = mkdtempSync(join(work, 'mount-'));
  try {
    const mounted = runJudge('mount', ['-t', 'ext4', '-o', `${options},nosuid,nodev,noexec`, device, folder]);
    if (mounted.exitCode !== 0) {
      if (REFUSAL.test(mounted.stderr)) return undefined;
      throw verdictAgainst('mount', device, mounted);
    }
    const unmount = (): void => {
      const unmounted = runJudge('umount', [folder]);
      if (unmounted.exitCode !== 0) throw verdictAgainst('umount', device, unmounted);
    };
    try {
      return use(folder);
    } finally {
      unmount();
    }
  } finally {
    rmdirSync(folder);
  }
}

function withLoop<T>(file: string, options: readonly string[], use: (device: string) => T): T {
  const made = runJudge('losetup', ['--find', '--show', ...options, file]);
  if (made.exitCode !== 0) throw verdictAgainst('losetup', file, made);
  const device = made.stdout.trim();
  try {
    return use(device);
  } finally {
    runJudge('losetup', ['--detach', device]);
  }
}

type Seen = Exclude<Exclude<Judgement['mount'], null>['patch'], null>;

interface Look {
  readonly seen: Seen;
  readonly bytes: Buffer | undefined;
}

/** What the kernel shows as the file `patch`: no link is followed, no folder is opened. */
function look(folder: string, uploadSha256: string): Look {
  let entry;
  try {
    entry = readdirSync(folder, { withFileTypes: true }).find(({ name }) => name === 'patch');
  } catch {
    return { seen: 'unreadable', bytes: undefined };
  }
  // A type that cannot be told is that of an inode that cannot be read.
  if (entry === undefined || entry.isDirectory() || entry.isSymbolicLink()) {
    return { seen: 'absent', bytes: undefined };
  }
  try {
    const bytes = readFileSync(join(folder, 'patch'));
    const isWhole = createHash('sha256').update(bytes).digest('hex') === uploadSha256;
    return { seen: isWhole ? 'whole' : 'damaged', bytes };
  } catch {
    return { seen: 'unreadable', bytes: undefined };
  }
}

function mount(
  raw: string,
  work: string,
  uploadSha256: string,
): { mount: Judgement['mount']; bytes: Buffer | undefined } {
  const readOnly = withLoop(raw, ['--read-only'], (device) =>
    whileMounted(device, 'ro', work, (folder) => look(folder, uploadSha256)),
  );
  const copy = join(work, 'writable.raw');
  copyFileSync(raw, copy);
  const writable = withLoop(copy, [], (device) =>
    whileMounted(device, 'rw', work, (folder) => look(folder, uploadSha256)),
  );
  const seen = writable ?? readOnly;
  return {
    mount: {
      readOnly: readOnly === undefined ? 'refuses' : 'mounts',
      writable: writable === undefined ? 'refuses' : 'mounts',
      patch: seen?.seen ?? null,
    },
    bytes: (readOnly ?? writable)?.bytes,
  };
}

/** The file `patch` without the kernel, checksums of metadata or not. */
function dump(raw: string, work: string): Buffer | undefined {
  const to = join(work, 'dumped');
  rmSync(to, { force: true });
  runJudge('debugfs', ['-n', '-R', `dump /patch ${to}`, raw]);
  return existsSync(to) ? readFileSync(to) : undefined;
}

function gpgv(bytes: Buffer, { keyring, signature }: JudgedImage, work: string): 'good' | 'bad' {
  const path = join(work, 'patch');
  writeFileSync(path, bytes);
  const files = signature === null ? [path] : [signature, path];
  const { exitCode } = runJudge('gpgv', ['--homedir', work, '--keyring', keyring, ...files]);
  return exitCode === 0 ? 'good' : 'bad';
}

/**
 * Judges an image. Needs root, loop devices, qemu-img, e2fsck, debugfs, gpgv.
 *
 * @param work an empty folder, for copies
 */
export function judge(image: JudgedImage, work: string): Judgement {
  const raw = image.isVhd ? join(work, 'disk.raw') : image.path;
  if (image.isVhd && !converts(image.path, raw)) {
    return { qemuImg: 'refuses', fsck: null, mount: null, gpgv: null };
  }
  const { mount: mounting, bytes } = mount(raw, work, image.uploadSha256);
  const content = bytes ?? (mounting?.patch === 'absent' ? undefined : dump(raw, work));
  return {
    qemuImg: image.isVhd ? 'converts' : null,
    fsck: fsck(raw),
    mount: mounting,
    gpgv: content === undefined ? null : gpgv(content, image, work),
  };
}
