import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What gpg and gpgv have to say about something; the tests' judge. */
export interface GpgvOpinion {
  readonly exitCode: number | null;
  readonly status: string;
  /** What `gpgv -o` put out, good signature or not; undefined when it made no file. */
  readonly clearText: Buffer | undefined;
}

export interface BenchKey {
  readonly fingerprint: string;
  readonly userId: string;
}

/**
 * Keys and signed messages made by the real gpg in a GNUPGHOME of its own. The path is short, because the agent's
 * socket lies in it and socket paths end at 108 bytes. Call `close` in the end: it stops the agent.
 */
export class OpenPgpBench {
  readonly folder = mkdtempSync('/tmp/pvg-');
  readonly home = join(this.folder, 'h');
  /** Parent of the verifiers' private folders: must be empty when they are disposed of. */
  readonly temporaryFolder = join(this.folder, 't');
  #files = 0;

  constructor() {
    mkdirSync(this.home, { mode: 0o700 });
    mkdirSync(this.temporaryFolder);
  }

  close(): void {
    spawnSync('gpgconf', ['--kill', 'all'], { env: this.#environment() });
    rmSync(this.folder, { recursive: true, force: true });
  }

  #environment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], GNUPGHOME: this.home, LC_ALL: 'C', TZ: 'UTC' };
  }

  /** Runs gpg; throws with its words unless it exits with 0. Returns its stdout. */
  gpg(args: readonly string[], input: Uint8Array | string = ''): Buffer {
    const ended = spawnSync(
      'gpg',
      ['--batch', '--yes', '--passphrase', '', '--trust-model', 'always', ...args],
      {
        env: this.#environment(),
        input,
        maxBuffer: 1 << 28,
      },
    );
    if (ended.status !== 0) throw new Error(`gpg ${args.join(' ')}: ${ended.stderr.toString()}`);
    return ended.stdout;
  }

  /** A new file in the bench's folder; returns its path. */
  file(content: Uint8Array | string, name = `f${(this.#files += 1)}`): string {
    const path = join(this.folder, name);
    writeFileSync(path, content);
    return path;
  }

  key(userId: string, algorithm = 'ed25519', expire = 'never', when?: string): BenchKey {
    const time = when === undefined ? [] : ['--faked-system-time', when];
    this.gpg([...time, '--quick-generate-key', userId, algorithm, 'sign', expire]);
    return { userId, fingerprint: this.fingerprints(userId)[0] ?? '' };
  }

  /** Of the primary key and its subkeys, in this order. */
  fingerprints(userId: string): string[] {
    const listing = this.gpg(['--list-keys', '--with-colons', `=${userId}`]).toString();
    return [...listing.matchAll(/^fpr:+([0-9A-F]+):/gm)].map((match) => match[1] ?? '');
  }

  /** Revokes with the certificate that gpg made along with the key. */
  revoke(key: BenchKey): void {
    const path = join(this.home, 'openpgp-revocs.d', `${key.fingerprint}.rev`);
    this.gpg(['--import'], readFileSync(path, 'utf8').replace(':-----BEGIN', '-----BEGIN'));
  }

  /** A keyring file with these keys; without keys, with all. */
  keyring(keys: readonly BenchKey[] = [], ...args: string[]): string {
    return this.file(this.gpg([...args, '--export', ...keys.map((key) => key.fingerprint)]));
  }

  /** A signed message; the content comes from a file, so that lengths are known, unless args say otherwise. */
  sign(content: Uint8Array | string, keys: readonly BenchKey[], ...args: string[]): Buffer {
    const signers = keys.flatMap((key) => ['-u', key.fingerprint]);
    return this.gpg([...signers, ...args, '-o', '-', '--sign', this.file(content, 'content')]);
  }

  /** The same from a pipe: partial body lengths. */
  signPiped(content: Uint8Array | string, keys: readonly BenchKey[], ...args: string[]): Buffer {
    const signers = keys.flatMap((key) => ['-u', key.fingerprint]);
    return this.gpg([...signers, ...args, '--sign'], content);
  }

  detach(content: Uint8Array | string, keys: readonly BenchKey[], ...args: string[]): Buffer {
    const signers = keys.flatMap((key) => ['-u', key.fingerprint]);
    return this.gpg([...signers, ...args, '--detach-sign'], content);
  }

  /** gpgv alone, none of our code. */
  gpgv(message: Uint8Array, keyring: string, output = join(this.folder, 'gpgv-output')): GpgvOpinion {
    rmSync(output, { force: true });
    const ended = spawnSync(
      'gpgv',
      ['--homedir', this.temporaryFolder, '--keyring', keyring, '--status-fd', '1', '-o', output],
      { env: { PATH: process.env['PATH'], LC_ALL: 'C' }, input: message, maxBuffer: 1 << 28 },
    );
    let clearText: Buffer | undefined;
    try {
      clearText = readFileSync(output);
    } catch {
      clearText = undefined;
    }
    return { exitCode: ended.status, status: ended.stdout.toString(), clearText };
  }
}

/** A packet as the tests see it, found without any of our code. */
export interface TestPacket {
  readonly tag: number;
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
  readonly body: Buffer;
}

/** Splits binary packets with definite lengths, and a last one of indeterminate length. For small, good messages. */
export function splitPackets(bytes: Buffer): TestPacket[] {
  const packets: TestPacket[] = [];
  let start = 0;
  while (start < bytes.length) {
    const octet = bytes.readUInt8(start);
    if ((octet & 0x80) === 0) throw new Error(`no packet at ${start}`);
    let tag = octet & 0x3f;
    let bodyStart = start + 1;
    let length: number;
    if ((octet & 0x40) === 0) {
      tag = (octet >> 2) & 15;
      const size = 2 ** (octet & 3);
      length = size === 8 ? bytes.length - bodyStart : bytes.readUIntBE(bodyStart, size);
      if (size < 8) bodyStart += size;
    } else {
      length = bytes.readUInt8(bodyStart);
      if (length >= 192) throw new Error('the bench splits short new-format packets only');
      bodyStart += 1;
    }
    const end = bodyStart + length;
    packets.push({ tag, start, bodyStart, end, body: bytes.subarray(bodyStart, end) });
    start = end;
  }
  return packets;
}

/** A packet in the new format with a five-octet length. */
export function packet(tag: number, ...body: (Uint8Array | string | number)[]): Buffer {
  const content = Buffer.concat(
    body.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part as Uint8Array))),
  );
  const header = Buffer.alloc(6);
  header.writeUInt8(0xc0 | tag, 0);
  header.writeUInt8(0xff, 1);
  header.writeUInt32BE(content.length, 2);
  return Buffer.concat([header, content]);
}

/** The bytes with one of them changed. */
export function flip(bytes: Uint8Array, offset: number, mask = 0x01): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(offset) ^ mask, offset);
  return copy;
}

/** The bytes with `part` put in at `offset`, in place of `removed` bytes. */
export function splice(bytes: Uint8Array, offset: number, part: Uint8Array | string, removed = 0): Buffer {
  return Buffer.concat([
    bytes.subarray(0, offset),
    Buffer.from(part as Uint8Array),
    bytes.subarray(offset + removed),
  ]);
}
