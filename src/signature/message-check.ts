import { UPLOAD_NAME, complaintsAbout, type Complain } from './complaint.js';
import { describeFirstBytes, FIRST_BYTES, startsSignedMessage } from './first-bytes.js';
import { Inflater } from './inflater.js';
import { MessageGrammar, type CompressedBody } from './message-grammar.js';

const OPERATION = 'check the form of the signed message';

/**
 * Judges the container of an upload while it streams by: that it is one binary signed message and nothing else.
 * Two grammars at most, one for the upload and one for what its Compressed Data packet inflates to.
 */
export class MessageCheck {
  readonly #complain: Complain = complaintsAbout('signature', OPERATION, UPLOAD_NAME);
  readonly #outer: MessageGrammar;
  readonly #inner: MessageGrammar;
  readonly #onFailure: (error: Error) => void;
  #inflater: Inflater | undefined;
  /** The upload's first bytes, kept only when they cannot start a message, to say what they are instead. */
  #firstBytes = new Uint8Array(0);
  #started = false;
  #failure: Error | undefined;
  /** Counts the views that one write lent to the inflater. */
  #lend: () => () => void = () => () => undefined;

  /** @param onFailure is told, once, of a fault that is found between two writes */
  constructor(clearTextLimitBytes: number, onFailure: (error: Error) => void) {
    this.#onFailure = onFailure;
    const compressed: CompressedBody = {
      open: (algorithm) => this.#openCompressed(algorithm),
      take: (bytes) => this.#inflater?.write(bytes, this.#lend()),
      close: () => undefined,
    };
    this.#outer = new MessageGrammar({ clearTextLimitBytes, compressed }, this.#complain);
    this.#inner = new MessageGrammar(
      { clearTextLimitBytes },
      complaintsAbout('signature', OPERATION, 'upload, decompressed'),
    );
  }

  /**
   * Takes the next bytes. They must not change until `taken` was called, which happens once, for an uncompressed
   * message before this returns. Throws `signature` at the first fault; then `taken` is not called.
   */
  write(bytes: Uint8Array, taken: () => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (bytes.length === 0) {
      taken();
      return;
    }
    if (!this.#started && !startsSignedMessage(this.#firstBytes[0] ?? bytes[0] ?? 0)) {
      this.#gatherFirstBytes(bytes);
      taken();
      return;
    }
    this.#started = true;
    let lent = 1;
    const giveBack = () => {
      lent -= 1;
      if (lent === 0) taken();
    };
    this.#lend = () => {
      lent += 1;
      return giveBack;
    };
    this.#outer.push(bytes);
    giveBack();
  }

  /**
   * The upload has ended. Rejects with `signature` when it was no complete message.
   *
   * @returns the number of signatures
   */
  async finish(): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#started) throw this.#noMessage(this.#firstBytes);
    const signatures = this.#outer.end();
    if (this.#inflater === undefined) return signatures;
    await this.#inflater.finish();
    // Set by the inflater meanwhile, which the type checker cannot see.
    const failure = this.#failure as Error | undefined;
    if (failure !== undefined) throw failure;
    return this.#inner.end();
  }

  /** Bytes of clear text so far. */
  get clearTextBytes(): number {
    return this.#inflater === undefined ? this.#outer.clearTextBytes : this.#inner.clearTextBytes;
  }

  /** Stops at once; resolves when every buffer was given back. Idempotent. */
  async destroy(): Promise<void> {
    await this.#inflater?.destroy();
  }

  #openCompressed(algorithm: number): void {
    this.#inflater = new Inflater(
      algorithm,
      (bytes) => this.#inner.push(bytes),
      (error) => {
        this.#failure ??= error;
        this.#onFailure(error);
      },
      this.#complain,
    );
  }

  /** Throws when there is enough to say what the upload is, or else lets `finish` do it. */
  #gatherFirstBytes(bytes: Uint8Array): void {
    if (this.#firstBytes.length === 0 && bytes.length >= FIRST_BYTES) throw this.#noMessage(bytes);
    this.#firstBytes = Buffer.concat([this.#firstBytes, bytes.subarray(0, FIRST_BYTES)]);
    if (this.#firstBytes.length >= FIRST_BYTES) throw this.#noMessage(this.#firstBytes);
  }

  #noMessage(bytes: Uint8Array): Error {
    const { found, hint } = describeFirstBytes(bytes);
    return this.#complain('the upload is not a binary signed message', {
      offset: 0,
      found,
      expected: 'an OpenPGP message signed with gpg --sign',
      hint,
    });
  }
}
