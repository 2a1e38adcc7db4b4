import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invariant } from '../errors.js';
import { writeFailure } from '../io/system-errors.js';
import type { SignaturePolicy } from '../signature/policy.js';
import type { ToolEnvironment } from '../tools/find.js';
import { unfinishedPath } from './folder-places.js';
import type { ParseInfo, PatchInfo } from './info-document.js';
import { CLEAR_TEXT_FILE, askPatch, type InfoLimits } from './patch-info.js';
import type { VdiFacts } from './storage.js';
import type { VdiInProgress } from './vdis.js';

/** Who may have signed a patch. A pool takes signed messages and nothing else. */
export type PatchPolicy = Omit<SignaturePolicy, 'detachedSignature'>;

/** What receiving a patch needs, whatever the patch. */
export interface ReceiveTools {
  readonly policy: PatchPolicy;
  readonly environment: ToolEnvironment;
  readonly parseInfo: ParseInfo;
  readonly infoLimits: InfoLimits;
}

export interface ReceiveRequest {
  readonly source: AsyncIterable<Uint8Array>;
  readonly contentLength: number | undefined;
  readonly virtualSize: number;
  readonly signal: AbortSignal;
  /** From 0 to 1. */
  readonly onProgress: (fraction: number) => void;
}

/** A patch that was received, verified, stored and asked what it is. */
export interface ReceivedPatch {
  readonly info: PatchInfo;
  readonly facts: VdiFacts;
  /** Bytes of the upload. */
  readonly size: number;
  /** Of the upload, lower-case hex. */
  readonly sha256: string;
}

/** What a patch without a length may be taken to have, for a progress that moves but does not arrive. */
const UNKNOWN_LENGTH_PROGRESS = 0.5;

/**
 * Streams an upload through `build` straight into a VDI, and runs the clear text with `info`. gpgv writes the clear
 * text while the upload comes in, beside the VDI: there is room for it, because the VDI is four times the upload.
 *
 * @throws PatchVdiError of all kinds, PoolError; the VDI is to be removed then, with its remains
 */
export async function receivePatch(
  vdi: VdiInProgress,
  tools: ReceiveTools,
  request: ReceiveRequest,
): Promise<ReceivedPatch> {
  const { repository, uuid } = vdi;
  const { policy, environment, parseInfo, infoLimits } = tools;
  const { virtualSize, signal } = request;
  const parent = repository.scratchFolder ?? environment.temporaryFolder;
  const folder = unfinishedPath(parent, uuid, 'info.tmp');
  await repository.createVdi({ uuid, nameLabel: '', virtualSize });
  const writing = await repository.openVdiForWriting(uuid);
  try {
    await mkdir(folder, { mode: 0o700 }).catch((cause: unknown) => {
      throw writeFailure(folder, 0, cause);
    });
    const built = await writing.build({
      source: request.source,
      contentLength: request.contentLength,
      size: virtualSize,
      verify: { signature: policy },
      // A ZIP is no signed message, and nothing is unpacked here.
      unzip: false,
      digest: true,
      clearTextPath: join(folder, CLEAR_TEXT_FILE),
      environment,
      signal,
      onProgress: ({ bytes, totalBytes }) =>
        request.onProgress(totalBytes === undefined ? UNKNOWN_LENGTH_PROGRESS : (0.95 * bytes) / totalBytes),
    });
    invariant(built.sha256 !== undefined, 'the digest that was asked for is there');
    const info = await askPatch(folder, parseInfo, environment, signal, infoLimits);
    signal.throwIfAborted();
    const facts = await repository.vdiFacts(uuid);
    return { info, facts, size: built.payloadLength, sha256: built.sha256 };
  } finally {
    writing.close();
    await rm(folder, { recursive: true, force: true });
  }
}
