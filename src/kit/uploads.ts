import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, stat, writeFile } from 'node:fs/promises';
import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { TAG } from '../signature/packet-tags.js';
import { withDiskFile, type DiskFile } from './disk-file.js';
import { filler } from './filler.js';
import type { KeyRole, KitKeys } from './kit-keys.js';
import { makePatchFile } from './make-patch.js';
import { concatBytes, octets, packetHeader, RSA, scalar, SHA256 } from './packets.js';
import type { PatchDesign } from './patch-stream.js';
import type { Seed } from './seed.js';
import { onePassPacket, testKeySigner } from './signer.js';
import { documentSignature } from './signing.js';

/** An upload as a file. */
export interface Upload {
  readonly path: string;
  /** Of a detached signature. */
  readonly signaturePath?: string | undefined;
}

type Chunks = AsyncIterable<Uint8Array>;

export interface UploadBenchOptions {
  /** Private; all uploads are made in it. */
  readonly folder: string;
  /** Of every patch; its seed is that of all random bytes. */
  readonly design: PatchDesign;
  /** Of an ordinary upload. */
  readonly sizeBytes: number;
  readonly keys: KitKeys;
  readonly abortSignal?: AbortSignal | undefined;
}

/** Format `b` (binary), no file name, no date: RFC 4880 §5.9. */
const LITERAL_HEADER = concatBytes(octets(0x62, 0), scalar(0, 4));

/** Makes uploads, good ones and the parts of bad ones. The same request makes the same bytes. */
export class UploadBench {
  readonly keys: KitKeys;
  readonly seed: Seed;
  readonly sizeBytes: number;
  readonly #design: PatchDesign;
  readonly #folder: string;
  readonly #abortSignal: AbortSignal | undefined;
  readonly #made = new Map<string, Promise<Upload>>();
  #count = 0;

  constructor(options: UploadBenchOptions) {
    this.keys = options.keys;
    this.seed = options.design.seed;
    this.#design = options.design;
    this.sizeBytes = options.sizeBytes;
    this.#folder = options.folder;
    this.#abortSignal = options.abortSignal;
  }

  /** A name for a new file. */
  newPath(): string {
    this.#count += 1;
    return join(this.#folder, `upload-${this.#count}`);
  }

  /** A test patch as a signed message, of exactly that size. */
  signed(role: KeyRole = 'signer', sizeBytes = this.sizeBytes): Promise<Upload> {
    return this.#once(`signed ${role} ${sizeBytes}`, (path) => this.#patch(path, sizeBytes, role, false));
  }

  /** A test patch as it is, with its signature in a file of its own. */
  detached(sizeBytes = this.sizeBytes): Promise<Upload> {
    return this.#once(`detached ${sizeBytes}`, (path) => this.#patch(path, sizeBytes, 'signer', true));
  }

  /** A test patch as it is. */
  unsigned(sizeBytes = this.sizeBytes): Promise<Upload> {
    return this.#once(`unsigned ${sizeBytes}`, (path) => this.#patch(path, sizeBytes, undefined, false));
  }

  /** Random bytes, too few for a patch, with a detached signature. */
  detachedBytes(sizeBytes: number): Promise<Upload> {
    return this.#once(`bytes ${sizeBytes}`, async (path) => {
      const hash = createHash('sha256');
      const chunks: Uint8Array[] = [];
      for await (const chunk of filler(this.seed, `upload of ${sizeBytes} bytes`, sizeBytes)) {
        hash.update(chunk);
        chunks.push(chunk);
      }
      await writeFile(path, concatBytes(...chunks));
      const signaturePath = `${path}.sig`;
      const key = this.keys.key('signer');
      await writeFile(signaturePath, documentSignature(hash, key.createdAt, key));
      return { path, signaturePath };
    });
  }

  /** A signed message with several signatures, one inside the other (RFC 4880 §5.4). */
  signedBy(roles: readonly KeyRole[]): Promise<Upload> {
    return this.#once(`signed by ${roles.join()}`, async (path) => {
      const clear = (await this.unsigned()).path;
      const { size } = await stat(clear);
      const hash = await this.hashOf(clear);
      const onePasses = roles.map((role, index) => {
        const isLast = index === roles.length - 1 ? 1 : 0;
        return onePassPacket(SHA256, RSA, this.keys.key(role).fingerprint, isLast);
      });
      const signatures = roles.map((role) => {
        const key = this.keys.key(role);
        return documentSignature(hash, key.createdAt, key);
      });
      const literal = packetHeader(TAG.literalData, LITERAL_HEADER.length + size);
      await this.rewrite(clear, path, async function* (chunks) {
        yield concatBytes(...onePasses, literal, LITERAL_HEADER);
        yield* chunks;
        // The first one announced is the outermost.
        yield concatBytes(...signatures.toReversed());
      });
      return { path };
    });
  }

  /** An upload that is another one, changed on the way. */
  async changed(from: Upload, change: (chunks: Chunks) => Chunks): Promise<Upload> {
    const path = this.newPath();
    await this.rewrite(from.path, path, change);
    return { path };
  }

  /** An upload that is another one with some bytes changed in place. */
  async edited(from: Upload, edit: (file: DiskFile) => void): Promise<Upload> {
    const path = this.newPath();
    await copyFile(from.path, path);
    await withDiskFile(path, edit);
    return { path };
  }

  async rewrite(from: string, to: string, change: (chunks: Chunks) => Chunks): Promise<void> {
    const source = createReadStream(from);
    await pipeline(source, change, createWriteStream(to, { flags: 'wx' }), {
      signal: this.#abortSignal,
    });
  }

  async hashOf(path: string): Promise<Hash> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
    return hash;
  }

  /** Uploads that several images have are made once. */
  #once(name: string, make: (path: string) => Promise<Upload>): Promise<Upload> {
    const known = this.#made.get(name) ?? make(this.newPath());
    this.#made.set(name, known);
    return known;
  }

  async #patch(
    path: string,
    sizeBytes: number,
    role: KeyRole | undefined,
    detached: boolean,
  ): Promise<Upload> {
    const signing = role === undefined ? undefined : { signer: testKeySigner(this.keys.key(role)), detached };
    const { signaturePath } = await makePatchFile({
      design: this.#design,
      path,
      force: false,
      sizeBytes,
      signing,
      abortSignal: this.#abortSignal,
    });
    return { path, signaturePath };
  }
}
