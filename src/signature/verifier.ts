import { rm } from 'node:fs/promises';
import { PatchVdiError } from '../errors.js';
import { clearTextFault, startGpgv } from '../tools/gpgv.js';
import { makePrivateFolder } from '../tools/private-folder.js';
import type { RunningTool, ToolResult } from '../tools/run.js';
import type { ToolEnvironment } from '../tools/find.js';
import { gpgvCannotWrite } from './clear-text-errors.js';
import { ClearTextFile } from './clear-text-file.js';
import { prepareDetachedSignature } from './detached-signature.js';
import { prepareKeyrings } from './keyring.js';
import { MessageCheck } from './message-check.js';
import { validateClearText, validatePolicy, type SignaturePolicy } from './policy.js';
import { printable } from './printable.js';
import { countdown, Releases } from './releases.js';
import { judge, type Verdict } from './verdict.js';

export { validatePolicy, type SignaturePolicy } from './policy.js';
export type { Verdict, VerifiedSignature } from './verdict.js';

/** Stands beside the writer of the image: the same bytes go through both. */
export interface UploadVerifier {
  /**
   * Takes the next bytes of the upload. They must not change until `done` was called, which happens exactly once and
   * after `write` has returned, in whatever way the check ends. Throws `signature` as soon as the container is known
   * to be wrong: then these bytes were not taken, and `done` is not called for them.
   */
  write(bytes: Uint8Array, done: () => void): void;
  /** Of a signed message, bytes of clear text so far; 0 with a detached signature. */
  readonly clearTextBytes: number;
  /**
   * After the last chunk, once: waits until gpgv has exited. With `clearTextPath` the clear text is in that file once
   * this has resolved, {@link clearTextBytes} long, and never otherwise.
   *
   * @throws PatchVdiError `signature` when the upload must not be trusted, `tool` when gpgv failed, `interrupted`;
   *   with `clearTextPath` also `space`, `usage` when the name has come into use meanwhile, `sink`
   */
  finish(): Promise<Verdict>;
  /**
   * Stops everything and removes the private folder, and the clear text unless `finish` has resolved. Safe at any
   * time, idempotent.
   *
   * @throws PatchVdiError `sink` when something could not be removed
   */
  dispose(): Promise<void>;
}

export interface VerifierOptions {
  readonly environment: ToolEnvironment;
  /** A signed message whose clear text is larger is refused as soon as that shows, bytes. */
  readonly clearTextLimitBytes: number;
  /**
   * A name that is not in use, in a folder that exists: gpgv's clear text of the signed message (mode 0600) gets it
   * when the verdict is good. Until then it grows in a private folder beside that name, and when anything goes wrong,
   * nothing is left of it. Only for signed messages: with a detached signature the upload itself is what was signed.
   */
  readonly clearTextPath?: string | undefined;
  /** The clear text is for a short while: it need not survive a power failure, and is not waited for. */
  readonly clearTextIsScratch?: boolean | undefined;
  readonly abortSignal?: AbortSignal | undefined;
  /** How long gpgv may take after it has read everything; default one minute, it needs milliseconds. */
  readonly exitTimeoutMilliseconds?: number;
}

const EXIT_TIMEOUT_MILLISECONDS = 60_000;

/**
 * Prepares the private folder (gpgv's home, with copies of the keyrings and of the detached signature) and starts
 * gpgv in it. The caller must call `dispose` in the end; when this rejects, everything is cleaned up already.
 *
 * @throws PatchVdiError `usage` for a policy or file that cannot be used, `signature` for a file that is not a
 *   detached signature, `tool` when gpgv is missing, `space` when there is no room for files, `interrupted` when
 *   aborted
 */
export async function startVerifier(
  policy: SignaturePolicy,
  options: VerifierOptions,
): Promise<UploadVerifier> {
  validatePolicy(policy);
  validateClearText(policy, options.clearTextPath);
  if (options.abortSignal?.aborted === true) throw stopped(options.abortSignal.reason);
  const folder = await makePrivateFolder(options.environment, 'gpgv');
  let clearText: ClearTextFile | undefined;
  try {
    const keyringPaths = await prepareKeyrings(policy.keyrings, folder);
    const detached =
      policy.detachedSignature === undefined
        ? undefined
        : await prepareDetachedSignature(policy.detachedSignature, folder);
    if (options.clearTextPath !== undefined) clearText = await ClearTextFile.create(options.clearTextPath);
    const gpgv = await startGpgv({
      environment: options.environment,
      homeFolder: folder,
      keyringPaths,
      detachedSignaturePath: detached?.path,
      clearTextPath: clearText?.workPath,
      abortSignal: options.abortSignal,
    });
    return new GpgvVerifier(policy, options, { folder, gpgv, clearText }, detached?.signatures);
  } catch (error) {
    try {
      await clearText?.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    throw error;
  }
}

function stopped(cause?: unknown): PatchVdiError {
  return new PatchVdiError('interrupted', 'the signature check was stopped', { cause });
}

/** What a verifier holds and lets go of in the end. */
interface Holdings {
  readonly folder: string;
  readonly gpgv: RunningTool;
  readonly clearText: ClearTextFile | undefined;
}

class GpgvVerifier implements UploadVerifier {
  readonly #policy: SignaturePolicy;
  readonly #options: VerifierOptions;
  readonly #folder: string;
  readonly #gpgv: RunningTool;
  readonly #clearText: ClearTextFile | undefined;
  /** Absent with a detached signature: then the upload's content is anybody's business but ours. */
  readonly #check: MessageCheck | undefined;
  readonly #detachedSignatures: number;
  readonly #releases = new Releases();
  #failure: unknown;
  #disposing: Promise<void> | undefined;

  constructor(
    policy: SignaturePolicy,
    options: VerifierOptions,
    { folder, gpgv, clearText }: Holdings,
    detachedSignatures: number | undefined,
  ) {
    this.#policy = policy;
    this.#options = options;
    this.#folder = folder;
    this.#gpgv = gpgv;
    this.#clearText = clearText;
    this.#detachedSignatures = detachedSignatures ?? 0;
    if (detachedSignatures === undefined) {
      this.#check = new MessageCheck(options.clearTextLimitBytes, (error) => this.#fail(error));
    }
    // gpgv may exit before it has read everything (a damaged message, a kill): EPIPE is no news then, finish() asks
    // how it ended. What the dead process did not read is given back.
    gpgv.stdin.on('error', () => undefined);
    gpgv.stdin.on('close', () => this.#releases.close());
    void gpgv.finished.then(
      () => this.#releases.close(),
      () => this.#releases.close(),
    );
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#throwIfOver();
    const taken = countdown(2, done);
    try {
      if (this.#check === undefined) taken();
      else this.#check.write(bytes, taken);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    const release = this.#releases.lend(taken);
    this.#gpgv.stdin.write(bytes, release);
  }

  get clearTextBytes(): number {
    return this.#check?.clearTextBytes ?? 0;
  }

  async finish(): Promise<Verdict> {
    try {
      return await this.#verdict();
    } catch (error) {
      this.#fail(error);
      // If it cannot be removed, dispose says so: the reason for the refusal matters more here.
      await this.#closeClearText().catch(() => undefined);
      throw this.#failure;
    }
  }

  async #verdict(): Promise<Verdict> {
    this.#throwIfOver();
    let signatures = this.#detachedSignatures;
    if (this.#check !== undefined) signatures = await this.#check.finish();
    const result = await this.#gpgvResult();
    // Killed by us meanwhile: that is not gpgv's fault.
    this.#throwIfOver();
    if (this.#clearText === undefined) return judge(result, signatures, this.#policy);
    const fault = clearTextFault(result);
    if (fault !== undefined) throw gpgvCannotWrite(this.#clearText.parentFolder, printable(fault, 200));
    const verdict = judge(result, signatures, this.#policy, this.clearTextBytes);
    await this.#clearText.store(this.clearTextBytes, this.#options.clearTextIsScratch !== true);
    // Nothing can come between these two: an abort from here on comes too late.
    this.#throwIfOver();
    this.#clearText.name();
    return verdict;
  }

  /** Removes it too, unless it was named. gpgv must be at its end: it was killed or has exited. */
  async #closeClearText(): Promise<void> {
    await this.#gpgv.finished.catch(() => undefined);
    await this.#clearText?.close();
  }

  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  async #dispose(): Promise<void> {
    this.#failure ??= stopped();
    this.#gpgv.kill();
    await this.#gpgv.finished.catch(() => undefined);
    await this.#check?.destroy();
    try {
      await this.#closeClearText();
    } finally {
      await rm(this.#folder, { recursive: true, force: true });
    }
  }

  /** Aborting is a fault like others: what is cut off by it must not count as a bad upload. */
  #throwIfOver(): void {
    const signal = this.#options.abortSignal;
    if (this.#failure === undefined && signal?.aborted === true) this.#failure = stopped(signal.reason);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * The first fault decides; gpgv need not read on. What comes after it may be only a consequence: dispose cuts the
   * inflater off, which complains.
   */
  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#gpgv.kill();
  }

  /** Ends gpgv's input and waits for its exit, with a time limit from the moment it has read everything. */
  async #gpgvResult(): Promise<ToolResult> {
    const limit = this.#options.exitTimeoutMilliseconds ?? EXIT_TIMEOUT_MILLISECONDS;
    let timer: NodeJS.Timeout | undefined;
    let timedOut = false;
    let ended = false;
    this.#gpgv.stdin.end(() => {
      // Also called when gpgv is gone; a timer would only keep the program alive then.
      if (ended) return;
      timer = setTimeout(() => {
        timedOut = true;
        this.#gpgv.kill();
      }, limit);
    });
    try {
      const result = await this.#gpgv.finished;
      if (!timedOut) return result;
    } finally {
      ended = true;
      clearTimeout(timer);
    }
    throw new PatchVdiError('tool', 'gpgv does not end', {
      context: {
        operation: 'check the signature',
        found: `still running ${limit} ms after the last byte`,
        expected: 'its verdict',
      },
    });
  }
}
