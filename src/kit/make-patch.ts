import { checkUuid } from '../build/identity.js';
import { invariant, isPatchVdiError, PatchVdiError } from '../errors.js';
import { FileSink } from '../io/file-sink.js';
import type { Sink } from '../io/sink.js';
import { checkDocumentText, type Guidance, type Precheck } from './documents.js';
import type { ApplyBehaviour } from './patch-script.js';
import { randomSeed, seededUuid, type Seed } from './seed.js';
import type { PatchSigner } from './signer.js';
import { openPatch, type PatchDesign, type PatchParts, type PatchSigning } from './patch-stream.js';

/** A test patch as it is asked for; everything has a default. */
export interface PatchRequest {
  /** Default: random. */
  readonly seed?: Seed | undefined;
  /** Default: from the seed. */
  readonly uuid?: string | undefined;
  readonly version?: string | undefined;
  readonly nameLabel?: string | undefined;
  readonly nameDescription?: string | undefined;
  readonly guidance?: readonly Guidance[] | undefined;
  readonly precheck?: Precheck | undefined;
  readonly apply?: ApplyBehaviour | undefined;
  /** What `apply` writes beside its payload, bytes; default 0. */
  readonly scratchBytes?: number | undefined;
}

const MAX_SLEEP_SECONDS = 86_400;

function checkApply(apply: ApplyBehaviour): ApplyBehaviour {
  if (apply.kind !== 'sleep') return apply;
  const { seconds } = apply;
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_SLEEP_SECONDS) return apply;
  throw new PatchVdiError('usage', 'apply cannot sleep that long', {
    context: { found: `${seconds} seconds`, expected: `0 to ${MAX_SLEEP_SECONDS} seconds` },
  });
}

/**
 * Fills in what was not said.
 *
 * @throws PatchVdiError `usage`
 */
export function designPatch(request: PatchRequest): PatchDesign {
  const seed = request.seed ?? randomSeed();
  return {
    seed,
    info: {
      uuid: checkUuid('the UUID of the patch', request.uuid) ?? seededUuid(seed, 'patch'),
      version: checkDocumentText('the version', request.version ?? '1.0'),
      nameLabel: checkDocumentText('the name label', request.nameLabel ?? 'test-patch'),
      nameDescription: checkDocumentText(
        'the name description',
        request.nameDescription ?? 'A test patch that changes nothing',
      ),
      guidance: request.guidance ?? [],
    },
    precheck: request.precheck ?? 'ok',
    apply: checkApply(request.apply ?? { kind: 'ok' }),
    scratchBytes: request.scratchBytes ?? 0,
  };
}

export interface PatchFileOptions {
  readonly design: PatchDesign;
  /** The patch; its detached signature is called `PATH.sig`. */
  readonly path: string;
  readonly force: boolean;
  /** Exact size of the file, bytes. */
  readonly sizeBytes: number;
  /** The signer stays the caller's. */
  readonly signing: { readonly signer: PatchSigner; readonly detached: boolean } | undefined;
  readonly abortSignal?: AbortSignal | undefined;
}

export interface PatchFile extends PatchParts {
  readonly path: string;
  readonly signaturePath: string | undefined;
}

function asInterruption(error: unknown, signal: AbortSignal | undefined): unknown {
  if (isPatchVdiError(error) || signal?.aborted !== true) return error;
  return new PatchVdiError('interrupted', 'making the test patch was stopped', { cause: error });
}

/**
 * Makes a test patch as a file, which gets its name when it is complete; a detached signature gets its name before.
 *
 * @throws PatchVdiError `usage`, `tool`, `space`, `sink`, `interrupted`; nothing is left under either name then
 */
export async function makePatchFile(options: PatchFileOptions): Promise<PatchFile> {
  const { design, path, force, sizeBytes, signing, abortSignal } = options;
  const signaturePath = signing?.detached === true ? `${path}.sig` : undefined;
  const sinks: Sink[] = [];
  const open = (name: string): FileSink => {
    const sink = new FileSink(name, force);
    sinks.push(sink);
    return sink;
  };
  try {
    const sink = open(path);
    const signatureSink = signaturePath === undefined ? undefined : open(signaturePath);
    const patch = await openPatch(design, sizeBytes, signingOf(signing), abortSignal);
    let position = 0;
    for await (const chunk of patch.bytes()) {
      sink.write(chunk, position);
      position += chunk.length;
    }
    invariant(position === sizeBytes, 'a test patch has the size that was asked for');
    const signature = patch.signature();
    if (signatureSink !== undefined && signature !== undefined) {
      signatureSink.write(signature, 0);
      await signatureSink.commit(signature.length);
    }
    await sink.commit(sizeBytes);
    return { ...patch.parts, path, signaturePath };
  } catch (error) {
    for (const sink of sinks) await sink.discard();
    throw asInterruption(error, abortSignal);
  }
}

function signingOf(signing: PatchFileOptions['signing']): PatchSigning {
  if (signing === undefined) return { kind: 'unsigned' };
  return { kind: signing.detached ? 'detached' : 'message', signer: signing.signer };
}
