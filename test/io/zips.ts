import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';

/** An archive made by Info-ZIP's own program from files of these names and contents. */
export function makeZip(files: Readonly<Record<string, Uint8Array | string>>, ...args: string[]): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'zips-'));
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), content);
    }
    const made = spawnSync('zip', ['-q', '-X', ...args, 'made.zip', ...Object.keys(files)], { cwd: folder });
    if (made.status !== 0) throw new Error(`zip: ${made.stdout.toString()}${made.stderr.toString()}`);
    return readFileSync(join(folder, 'made.zip'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same from a pipe to a pipe: sizes and checksum follow the data. */
export function makeZipInAStream(content: Uint8Array): Buffer {
  const made = spawnSync('sh', ['-c', 'zip -q -X - - | cat'], { input: content, maxBuffer: 1 << 28 });
  if (made.status !== 0 || made.stdout.length === 0) throw new Error(`zip: ${made.stderr.toString()}`);
  return made.stdout;
}

/** What a test changes in an archive; places as in PKWARE's APPNOTE 4.3.7, 4.3.12 and 4.3.16. */
export class ZipPatcher {
  readonly bytes: Buffer;

  constructor(archive: Uint8Array) {
    this.bytes = Buffer.from(archive);
  }

  /** Offset of the central directory's header of a member. */
  central(name: string): number {
    const start = this.bytes.readUInt32LE(this.end() + 16);
    for (let at = start; this.bytes.readUInt32LE(at) === 0x02014b50;) {
      const nameLength = this.bytes.readUInt16LE(at + 28);
      if (this.bytes.toString('latin1', at + 46, at + 46 + nameLength) === name) return at;
      at += 46 + nameLength + this.bytes.readUInt16LE(at + 30) + this.bytes.readUInt16LE(at + 32);
    }
    throw new Error(`no member ${name}`);
  }

  /** Offset of the header in front of the data. */
  local(name: string): number {
    return this.bytes.readUInt32LE(this.central(name) + 42);
  }

  data(name: string): number {
    const at = this.local(name);
    return at + 30 + this.bytes.readUInt16LE(at + 26) + this.bytes.readUInt16LE(at + 28);
  }

  /** Offset of the end of central directory record. */
  end(): number {
    return this.bytes.lastIndexOf(Buffer.of(0x50, 0x4b, 5, 6));
  }

  set16(offset: number, value: number): this {
    this.bytes.writeUInt16LE(value, offset);
    return this;
  }

  set32(offset: number, value: number): this {
    this.bytes.writeUInt32LE(value, offset);
    return this;
  }

  flip(offset: number): this {
    this.bytes.writeUInt8(this.bytes.readUInt8(offset) ^ 1, offset);
    return this;
  }

  /** The same length in both headers. */
  setSizes(name: string, compressed: number, uncompressed: number): this {
    return this.set32(this.central(name) + 20, compressed)
      .set32(this.central(name) + 24, uncompressed)
      .set32(this.local(name) + 18, compressed)
      .set32(this.local(name) + 22, uncompressed);
  }

  /** Another name of the same length, in both headers. */
  rename(name: string, to: string): this {
    const [central, local] = [this.central(name), this.local(name)];
    this.bytes.write(to, central + 46, 'latin1');
    this.bytes.write(to, local + 30, 'latin1');
    return this;
  }
}

/**
 * A stored member with these headers' fields, all others zero; for archives that no program makes.
 */
export function storedZip(name: string, content: Uint8Array, members = 1): Buffer {
  const nameBytes = Buffer.from(name);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt32LE(crc32(content), 14);
  local.writeUInt32LE(content.length, 18);
  local.writeUInt32LE(content.length, 22);
  local.writeUInt16LE(nameBytes.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  local.copy(central, 16, 14, 28);
  const entry = Buffer.concat([central, nameBytes]);
  const front = Buffer.concat([local, nameBytes, content]);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(members, 0xffff), 8);
  end.writeUInt16LE(Math.min(members, 0xffff), 10);
  end.writeUInt32LE(entry.length * members, 12);
  end.writeUInt32LE(front.length, 16);
  return Buffer.concat([front, ...Array.from({ length: members }, () => entry), end]);
}
