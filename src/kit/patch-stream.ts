import { PatchVdiError } from '../errors.js';
import { describeBytes } from '../units.js';
import { infoDocument, precheckDocument, type PatchInfo, type Precheck } from './documents.js';
import { filler, fillerSha256 } from './filler.js';
import { frameBytes, frameMessage, Framer, type FramedRun } from './message-frame.js';
import { patchScript, type ApplyBehaviour } from './patch-script.js';
import { seededUuid, type Seed } from './seed.js';
import type { PatchSigner } from './signer.js';

/** A test patch as it is to be. The same design, size and signer make the same bytes. */
export interface PatchDesign {
  readonly seed: Seed;
  readonly info: PatchInfo;
  readonly precheck: Precheck;
  readonly apply: ApplyBehaviour;
  /** What `apply` writes beside its payload. */
  readonly scratchBytes: number;
}

/** Where the signature goes: around the clear text, into a file of its own, or nowhere. */
export type PatchSigning =
  | { readonly kind: 'message'; readonly signer: PatchSigner }
  | { readonly kind: 'detached'; readonly signer: PatchSigner }
  | { readonly kind: 'unsigned' };

/** What a test patch consists of. */
export interface PatchParts {
  /** Bytes of the script in front. */
  readonly scriptBytes: number;
  readonly payloadBytes: number;
  readonly clearTextBytes: number;
  /** Lower-case hex. */
  readonly payloadSha256: string;
}

/** A test patch that is made while it is read. */
export interface PatchStream {
  readonly parts: PatchParts;
  /**
   * Its bytes from the first to the last, once. Every chunk is new and stays as it is; memory does not grow with the
   * size.
   *
   * @throws PatchVdiError `tool`; the reason of the abort signal
   */
  bytes(): AsyncGenerator<Uint8Array>;
  /** The Signature packet, when the bytes have ended; undefined for a patch without a signature. */
  signature(): Uint8Array | undefined;
}

/** Signatures happen to be shorter than announced at most once in a hundred; this often in a row never. */
const MAX_ATTEMPTS = 16;

interface Layout extends PatchParts {
  readonly script: Uint8Array;
  readonly runs: readonly FramedRun[];
}

function tooSmall(sizeBytes: number, minimumBytes: number): PatchVdiError {
  return new PatchVdiError('usage', 'a test patch cannot be that small', {
    context: { found: describeBytes(sizeBytes), expected: `at least ${minimumBytes} bytes` },
    hint: 'its script alone, with the names it was given, and its signature take that many',
  });
}

async function layOut(
  design: PatchDesign,
  sizeBytes: number,
  signing: PatchSigning,
  abortSignal: AbortSignal | undefined,
): Promise<Layout> {
  const { seed, info, scratchBytes } = design;
  const prerequisite = seededUuid(seed, 'missing prerequisite');
  const facts = {
    uuid: info.uuid,
    infoDocument: infoDocument(info),
    precheckDocument: precheckDocument(design.precheck, prerequisite, sizeBytes + scratchBytes),
    apply: design.apply,
    scratchBytes,
  };
  // Its length is that of the final one.
  const scriptBytes = patchScript({ ...facts, payloadBytes: 0, payloadSha256: '0'.repeat(64) }).length;
  const around =
    signing.kind === 'message' ? frameBytes(signing.signer.onePass.length, signing.signer.signatureBytes) : 0;
  if (sizeBytes < around + scriptBytes) throw tooSmall(sizeBytes, around + scriptBytes);
  const { clearTextBytes, runs } =
    signing.kind === 'message'
      ? frameMessage(sizeBytes, signing.signer.onePass, signing.signer.signatureBytes)
      : { clearTextBytes: sizeBytes, runs: [{ frame: new Uint8Array(0), clearBytes: sizeBytes }] };
  const payloadBytes = clearTextBytes - scriptBytes;
  const payloadSha256 = await fillerSha256(seed, 'payload', payloadBytes, abortSignal);
  const script = patchScript({ ...facts, payloadBytes, payloadSha256 });
  return { script, runs, scriptBytes, payloadBytes, clearTextBytes, payloadSha256 };
}

async function* clearText(
  seed: Seed,
  layout: Layout,
  abortSignal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  yield layout.script;
  yield* filler(seed, 'payload', layout.payloadBytes, abortSignal);
}

/**
 * Hands on the clear text and has it signed. In a message the signature must have the announced length: for every
 * attempt after the first the clear text is made once more, and only the signer reads it.
 *
 * @param keep gets the Signature packet
 */
async function* signed(
  { kind, signer }: Exclude<PatchSigning, { kind: 'unsigned' }>,
  makeClearText: () => AsyncIterable<Uint8Array>,
  keep: (signature: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const running = await signer.start(attempt);
    try {
      for await (const chunk of makeClearText()) {
        if (attempt === 0) yield chunk;
        await running.update(chunk);
      }
      const signature = await running.finish();
      if (kind === 'detached' || signature.length === signer.signatureBytes) return keep(signature);
    } finally {
      await running.dispose();
    }
  }
  throw new PatchVdiError('tool', 'no signature had the announced length', {
    context: {
      operation: 'sign the test patch',
      found: `${MAX_ATTEMPTS} signatures of other lengths`,
      expected: `${signer.signatureBytes} bytes`,
    },
  });
}

/**
 * Prepares a test patch of an exact size: a script and its payload, around them the signed message if that is wanted.
 * The payload is made twice, because the script in front of it tells its SHA-256: the first time here.
 *
 * @param sizeBytes of the stream; a detached signature comes on top
 * @throws PatchVdiError `usage` when the size is too small; the reason of `abortSignal`
 */
export async function openPatch(
  design: PatchDesign,
  sizeBytes: number,
  signing: PatchSigning,
  abortSignal?: AbortSignal,
): Promise<PatchStream> {
  const layout = await layOut(design, sizeBytes, signing, abortSignal);
  const { scriptBytes, payloadBytes, clearTextBytes, payloadSha256 } = layout;
  const makeClearText = (): AsyncGenerator<Uint8Array> => clearText(design.seed, layout, abortSignal);
  let signature: Uint8Array | undefined;
  const keep = (made: Uint8Array): void => void (signature = made);
  async function* bytes(): AsyncGenerator<Uint8Array> {
    const framer = new Framer(layout.runs);
    const text = signing.kind === 'unsigned' ? makeClearText() : signed(signing, makeClearText, keep);
    for await (const chunk of text) yield* framer.frame(chunk);
    if (signing.kind === 'message' && signature !== undefined) yield signature;
  }
  const parts = { scriptBytes, payloadBytes, clearTextBytes, payloadSha256 };
  return { parts, bytes, signature: () => signature };
}
