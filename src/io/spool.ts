import { randomBytes } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFailure } from '../tools/private-folder.js';
import type { UploadSource } from './chunk.js';
import { FileSource } from './file-source.js';
import { writeFailure } from './system-errors.js';

/**
 * A private place for an upload that must be verified, or measured, before its first byte may go on. The file has no
 * name from the start, so nothing stays behind even after SIGKILL.
 */
export class Spool {
  readonly #fd: number;
  readonly #folder: string;
  #length = 0;

  /**
   * @param folder where the file lies, e.g. TMPDIR
   * @throws PatchVdiError `usage` | `space` when nothing can be created there
   */
  constructor(folder: string) {
    this.#folder = folder;
    const path = join(folder, `patch-vdi-spool-${randomBytes(8).toString('hex')}`);
    try {
      this.#fd = openSync(path, 'wx+', 0o600);
    } catch (cause) {
      throw temporaryFailure(folder, cause);
    }
    unlinkSync(path);
  }

  /** Bytes spooled so far. */
  get length(): number {
    return this.#length;
  }

  append(bytes: Uint8Array): void {
    let written = 0;
    try {
      while (written < bytes.length) {
        written += writeSync(this.#fd, bytes, written, bytes.length - written, this.#length + written);
      }
    } catch (error) {
      throw writeFailure(`the spool in ${this.#folder}`, this.#length, error);
    }
    this.#length += bytes.length;
  }

  /** The spooled bytes from their start, as an upload of known length; valid until `close`. */
  source(name: string): UploadSource {
    return new FileSource(name, this.#fd, this.#length, 0, false);
  }

  /** For whoever reads the spooled bytes at any place; valid until `close`. */
  get place(): { readonly fd: number; readonly name: string } {
    return { fd: this.#fd, name: `the spool in ${this.#folder}` };
  }

  close(): void {
    closeSync(this.#fd);
  }
}
