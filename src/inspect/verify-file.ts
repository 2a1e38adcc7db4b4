import { createHash } from 'node:crypto';
import { isPatchVdiError, restate } from '../errors.js';
import { UPLOAD_NAME } from '../signature/complaint.js';
import { startVerifier, type SignaturePolicy, type VerifiedSignature } from '../signature/verifier.js';
import type { ToolEnvironment } from '../tools/find.js';
import type { FileChunk } from './image-file.js';

export interface PassThroughOptions {
  /** The file as the user knows it, for errors about its signature. */
  readonly name: string;
  readonly environment: ToolEnvironment;
  readonly clearTextLimitBytes: number;
  /** gpgv writes the clear text of a signed message there; to be trusted only after this has resolved. */
  readonly clearTextPath?: string;
  readonly wantDigest?: boolean;
  readonly abortSignal?: AbortSignal;
  readonly onBytes?: (bytes: number) => void;
}

export interface PassedThrough {
  readonly signatures: readonly VerifiedSignature[];
  /** Of a signed message; 0 with a detached signature. */
  readonly clearTextBytes: number;
  /** Hex; undefined unless it was wanted. */
  readonly sha256: string | undefined;
}

/** A file of an image, as errors call it. */
export const nameWithin = (image: { readonly name: string }, path: string): string =>
  `${path} in ${image.name}`;

/**
 * Lets a whole file go through gpgv, chunk by chunk, and waits for the verdict.
 *
 * @throws PatchVdiError `signature` when it must not be trusted, `tool`, `interrupted`; whatever reading it throws
 */
export async function passThroughVerifier(
  chunks: AsyncIterable<FileChunk>,
  policy: SignaturePolicy,
  options: PassThroughOptions,
): Promise<PassedThrough> {
  const { name, wantDigest = false, onBytes, ...others } = options;
  const verifier = await startVerifier(policy, others);
  const hash = wantDigest ? createHash('sha256') : undefined;
  try {
    let bytes = 0;
    for await (const chunk of chunks) {
      // The buffer is used again for the chunk after next: wait until nobody looks at it any more.
      const taken = new Promise<void>((done) => verifier.write(chunk.bytes, done));
      hash?.update(chunk.bytes);
      await taken;
      bytes += chunk.bytes.length;
      onBytes?.(bytes);
    }
    const { signatures } = await verifier.finish();
    return { signatures, clearTextBytes: verifier.clearTextBytes, sha256: hash?.digest('hex') };
  } catch (error) {
    // Who builds knows it as the upload; here it is a file somewhere.
    const isAboutIt = isPatchVdiError(error) && error.context.path === UPLOAD_NAME;
    throw isAboutIt ? restate(error, { path: name }) : error;
  } finally {
    await verifier.dispose();
  }
}
