// What all parts of the benchmark share: folders, uploads, command lines, and what they found.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;

const folders = [];
function workFolder(parent) {
  const folder = mkdtempSync(join(parent, 'pv-bench-'));
  folders.push(folder);
  return folder;
}
process.on('exit', () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));
// A folder in memory that stays behind is memory that nobody has any more.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

export const sh = (script) => execFileSync('sh', ['-ec', script], { stdio: ['ignore', 'ignore', 'inherit'] });

/** 104857600 -> `100 MiB`. */
export function sizeName(bytes) {
  return bytes % GIB === 0 ? `${bytes / GIB} GiB` : `${bytes / MIB} MiB`;
}

/** A key ring and its key, for this run only. */
function makeKeys(memory) {
  const home = workFolder('/tmp');
  const keyring = join(memory, 'keys.gpg');
  sh(`chmod 700 ${home}; export GNUPGHOME=${home}
    gpg --batch --quiet --passphrase '' --quick-generate-key 'Bench <bench@example.org>' ed25519 sign never
    gpg --batch --export > ${keyring}; gpgconf --kill all`);
  return { home, keyring };
}

/**
 * @param options quick, full (see bench.mjs)
 * @returns the folders `memory` (tmpfs) and `disk`; `rounds`; `cli`, the path of the command line, and `command`, what
 * runs it in a shell; `uploads(bytes)`; `build(…)`; `record(key, value)`, for the targets (targets.mjs); `say`, for who
 * waits
 */
export function createBench({ quick, full }) {
  const memory = workFolder(existsSync('/dev/shm') ? '/dev/shm' : tmpdir());
  const disk = workFolder(tmpdir());
  const cli = join(import.meta.dirname, '../../dist/cli/main.js');
  const command = `${process.execPath} ${cli}`;
  const figures = new Map();
  const uploads = new Map();
  let keys;
  const madeKeys = () => (keys ??= makeKeys(memory));
  return {
    quick,
    full,
    memory,
    disk,
    cli,
    command,
    rounds: quick ? 1 : 3,
    /** Of the uploads that are compared. */
    uploadBytes: quick ? 128 * MIB : GIB,
    figures,
    record: (key, value) => figures.set(key, value),
    say: (text) => process.stderr.write(`${text}\n`),
    /** The key of this run: its gpg home, and a key ring with its public half. */
    get home() {
      return madeKeys().home;
    },
    get keyring() {
      return madeKeys().keyring;
    },
    /** Random bytes on tmpfs, plain and as a signed message, and the key ring for them. */
    uploads(bytes) {
      const { home, keyring } = madeKeys();
      if (!uploads.has(bytes)) {
        const upload = join(memory, `upload-${bytes}`);
        sh(`head -c ${bytes} /dev/urandom > ${upload}; export GNUPGHOME=${home}
          gpg --batch --quiet --compress-algo none --sign -o ${upload}.signed ${upload}; gpgconf --kill all`);
        uploads.set(bytes, { upload, signed: `${upload}.signed`, keyring });
      }
      return uploads.get(bytes);
    },
    /** Our command, with an upload that comes through a pipe. */
    build: (source, length, target, options) =>
      `cat ${source} | ${command} build - --content-length ${length} ${options} --quiet -o ${target}`,
  };
}
