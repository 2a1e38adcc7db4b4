import { createHash, type Hash } from 'node:crypto';
import { PatchVdiError } from '../errors.js';
import { releaseAfter, type Chunk } from '../io/chunk.js';
import { startVerifier, type UploadVerifier } from '../signature/verifier.js';
import type { VerifiedSignature } from '../signature/verdict.js';
import type { ToolEnvironment } from '../tools/find.js';
import { describeBytes } from '../units.js';
import type { VerifyOption } from './options.js';

export interface GuardOptions {
  readonly verify: VerifyOption;
  readonly wantDigest: boolean;
  /** Of the upload, for messages. */
  readonly name: string;
  /** Bytes that were announced; more or fewer are an error. Undefined: any number up to `capacityBytes`. */
  readonly announcedLength: number | undefined;
  /** Bytes of the image, for messages. */
  readonly imageBytes: number;
  /** The longest payload that fits into it, in bytes; an upload without a length must not outgrow it. */
  readonly capacityBytes: number;
  /** The clear text of a signed message must fit into this. */
  readonly scratchBytes: number;
  readonly environment: ToolEnvironment;
  /** Where gpgv puts the clear text of a signed message. */
  readonly clearTextPath?: string | undefined;
  readonly abortSignal: AbortSignal;
}

export interface UploadFindings {
  readonly signatures: readonly VerifiedSignature[];
  /** Lower-case hex, when it was computed. */
  readonly sha256: string | undefined;
}

/** Writes bytes somewhere and calls `done` when they are no longer needed; may ask for a pause. */
export type PassOn = (bytes: Uint8Array, done: () => void) => void | Promise<void>;

/**
 * Stands where the upload comes in: counts it, hashes it, shows it to gpgv, and passes on the very same bytes, so
 * that what is verified is what is written.
 */
export class UploadGuard {
  readonly #options: GuardOptions;
  readonly #verifier: UploadVerifier | undefined;
  readonly #hash: Hash | undefined;
  #received = 0;

  private constructor(options: GuardOptions, verifier: UploadVerifier | undefined) {
    this.#options = options;
    this.#verifier = verifier;
    if (options.wantDigest || options.verify.sha256 !== undefined) this.#hash = createHash('sha256');
  }

  /** @throws PatchVdiError `usage` (keyring, detached signature), `signature`, `tool` */
  static async start(options: GuardOptions): Promise<UploadGuard> {
    const { signature } = options.verify;
    if (signature === undefined) return new UploadGuard(options, undefined);
    const { environment, abortSignal, clearTextPath, scratchBytes: clearTextLimitBytes } = options;
    const clearText = { clearTextLimitBytes, clearTextPath, clearTextIsScratch: true };
    const verifier = await startVerifier(signature, { ...clearText, environment, abortSignal });
    return new UploadGuard(options, verifier);
  }

  /** Bytes so far. */
  get received(): number {
    return this.#received;
  }

  /** @throws PatchVdiError `upload` | `space` when it is too long, `signature` as soon as the container is wrong */
  take(chunk: Chunk, passOn: PassOn): void | Promise<void> {
    const { bytes } = chunk;
    this.#received += bytes.length;
    this.#requireNotTooLong();
    this.#hash?.update(bytes);
    if (this.#verifier === undefined) return passOn(bytes, chunk.release);
    const release = releaseAfter(2, chunk.release);
    this.#verifier.write(bytes, release);
    return passOn(bytes, release);
  }

  #requireNotTooLong(): void {
    const { announcedLength, imageBytes, capacityBytes, name } = this.#options;
    if (announcedLength !== undefined && this.#received > announcedLength) {
      throw new PatchVdiError('upload', 'the upload is longer than announced', {
        context: {
          path: name,
          found: `more than ${announcedLength} bytes`,
          expected: `${announcedLength} bytes`,
        },
        hint: 'correct --content-length; or the file grew while it was read',
      });
    }
    if (announcedLength === undefined && this.#received > capacityBytes) {
      throw new PatchVdiError('space', 'the upload has outgrown the image', {
        context: {
          path: name,
          found: `${describeBytes(this.#received)} and more`,
          expected: `${describeBytes(capacityBytes)} at most in an image of ${describeBytes(imageBytes)}`,
        },
        hint: 'give a larger --size, or --content-length so that it can be chosen',
      });
    }
  }

  /** After the last chunk, before anything is made of the upload. @throws PatchVdiError `upload` */
  requireComplete(): void {
    const { announcedLength, name } = this.#options;
    if (this.#received === 0) {
      throw new PatchVdiError('upload', 'the upload is empty', {
        context: { path: name, found: '0 bytes', expected: 'at least 1' },
      });
    }
    if (announcedLength !== undefined && this.#received < announcedLength) {
      throw new PatchVdiError('upload', 'the upload ended too early', {
        context: {
          path: name,
          offset: this.#received,
          found: `${this.#received} bytes`,
          expected: `${announcedLength} bytes`,
        },
        hint: 'look at the program that sends it, and start again',
      });
    }
  }

  /**
   * The verdict on the whole upload. Without it nothing may be sealed.
   *
   * @throws PatchVdiError `signature` | `tool`
   */
  async findings(): Promise<UploadFindings> {
    const sha256 = this.#hash?.digest('hex');
    const expected = this.#options.verify.sha256?.toLowerCase();
    if (expected !== undefined && sha256 !== expected) {
      throw new PatchVdiError('signature', 'the upload has another SHA-256', {
        context: { path: this.#options.name, found: String(sha256), expected },
      });
    }
    const verdict = await this.#verifier?.finish();
    return { signatures: verdict?.signatures ?? [], sha256 };
  }

  /**
   * The clear text will be taken out of the message into the scratch space of the image, so it must fit there. The
   * limit that was given at the start may have been larger: the scratch space is known when the template is.
   *
   * @throws PatchVdiError `signature`
   */
  requireScratch(scratchBytes: number): void {
    const clearTextBytes = this.#verifier?.clearTextBytes ?? 0;
    if (clearTextBytes <= scratchBytes) return;
    throw new PatchVdiError('signature', 'the clear text of the signed message is too large', {
      context: {
        path: this.#options.name,
        found: describeBytes(clearTextBytes),
        expected: `${describeBytes(scratchBytes)} at most, the scratch space of the image`,
      },
      hint: 'choose a larger image with --size if the upload is genuine',
    });
  }

  async dispose(): Promise<void> {
    await this.#verifier?.dispose();
  }
}
