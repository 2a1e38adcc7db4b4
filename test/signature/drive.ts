import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { isPatchVdiError, type PatchVdiError } from '../../src/errors.js';
import type { SignaturePolicy } from '../../src/signature/policy.js';
import type { Verdict } from '../../src/signature/verdict.js';
import { startVerifier, type VerifierOptions } from '../../src/signature/verifier.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';

export interface DriveOptions extends Partial<VerifierOptions> {
  /** The upload comes in pieces of this many bytes; a list is gone through in turn. Default: whole. */
  readonly chunks?: number | readonly number[];
  readonly temporaryFolder: string;
  readonly searchPath?: readonly string[];
}

export function* pieces(bytes: Uint8Array, chunks: number | readonly number[]): Generator<Uint8Array> {
  const sizes = typeof chunks === 'number' ? [chunks] : chunks;
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/**
 * Feeds an upload through a verifier as a writer would: at most four chunks are lent, each lent buffer is scribbled
 * over once it is given back, and in the end each was given back once and no file is left.
 */
export async function drive(
  upload: Uint8Array,
  policy: SignaturePolicy,
  options: DriveOptions,
): Promise<Verdict> {
  const { temporaryFolder, searchPath = DEFAULT_SEARCH_PATH } = options;
  const verifier = await startVerifier(policy, {
    environment: { searchPath, temporaryFolder },
    clearTextLimitBytes: 64 * MIB,
    ...options,
  });
  let taken = 0;
  let returned = 0;
  let wake: () => void = () => undefined;
  try {
    for (const piece of pieces(upload, options.chunks ?? Math.max(1, upload.length))) {
      const lent = Buffer.from(piece);
      let times = 0;
      taken += 1;
      try {
        verifier.write(lent, () => {
          times += 1;
          returned += 1;
          expect(times, 'done is called once').toBe(1);
          lent.fill(0xee);
          wake();
        });
      } catch (error) {
        taken -= 1;
        throw error;
      }
      while (taken - returned >= 4) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    return await verifier.finish();
  } finally {
    await verifier.dispose();
    await new Promise((resolve) => setImmediate(resolve));
    expect(returned, 'every buffer is given back').toBe(taken);
    expect(readdirSync(temporaryFolder), 'nothing is left').toEqual([]);
  }
}

/** The error of an upload that must be refused. */
export async function refusal(promise: Promise<unknown>): Promise<PatchVdiError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('value' in outcome) throw new Error(`accepted: ${JSON.stringify(outcome.value)}`);
  if (!isPatchVdiError(outcome.error)) throw outcome.error;
  return outcome.error;
}

/** All that an error tells a person, in one string. */
export function words(error: PatchVdiError): string {
  const { message, context, hint } = error;
  return [message, context.found, context.expected, hint].filter(Boolean).join(' | ');
}
