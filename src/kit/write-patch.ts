import { PatchVdiError } from '../errors.js';
import type { Sink } from '../io/sink.js';
import { describeBytes } from '../units.js';
import { infoDocument, precheckDocument, type PatchInfo, type Precheck } from './documents.js';
import { filler, fillerSha256 } from './filler.js';
import { frameBytes, frameMessage, Framer, type FramedRun } from './message-frame.js';
import { patchScript, type ApplyBehaviour } from './patch-script.js';
import { seededUuid, type Seed } from './seed.js';
import type { PatchSigner, RunningSignature } from './signer.js';

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
  | { readonly kind: 'detached'; readonly signer: PatchSigner; readonly signatureSink: Sink }
  | { readonly kind: 'unsigned' };

export interface WrittenPatch {
  /** Bytes of the script in front. */
  readonly scriptBytes: number;
  readonly payloadBytes: number;
  readonly clearTextBytes: number;
  /** Lower-case hex. */
  readonly payloadSha256: string;
  /** Of the Signature packet; 0 without one. */
  readonly signatureBytes: number;
}

/** Signatures happen to be shorter than announced at most once in a hundred; this often in a row never. */
const MAX_ATTEMPTS = 16;

interface Layout extends Omit<WrittenPatch, 'signatureBytes'> {
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
 * The signature, which must have the announced length in a message. While the first attempt is made, every chunk
 * also goes to `write`; the clear text of later ones is made once more.
 */
async function sign(
  signer: PatchSigner,
  wantsExactLength: boolean,
  makeClearText: () => AsyncIterable<Uint8Array>,
  write: (chunk: Uint8Array) => void | Promise<void>,
): Promise<Uint8Array> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const running: RunningSignature = await signer.start(attempt);
    try {
      for await (const chunk of makeClearText()) {
        if (attempt === 0) await write(chunk);
        await running.update(chunk);
      }
      const signature = await running.finish();
      if (!wantsExactLength || signature.length === signer.signatureBytes) return signature;
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
 * Writes a test patch of an exact size: a script and its payload, around it the signed message if that is wanted.
 * Memory does not grow with the size. The sinks are the caller's, who commits or discards them; when this rejects,
 * they hold something unfinished.
 *
 * @param sizeBytes of what goes to `sink`; a detached signature comes on top
 * @throws PatchVdiError `usage` when the size is too small; `tool`, `space`, `sink`; the reason of `abortSignal`
 */
export async function writePatch(
  design: PatchDesign,
  sizeBytes: number,
  signing: PatchSigning,
  sink: Sink,
  abortSignal?: AbortSignal,
): Promise<WrittenPatch> {
  const layout = await layOut(design, sizeBytes, signing, abortSignal);
  let position = 0;
  const append = (bytes: Uint8Array): void => {
    sink.write(bytes, position);
    position += bytes.length;
  };
  const framer = new Framer(layout.runs, append);
  const write = async (chunk: Uint8Array): Promise<void> => {
    framer.push(chunk);
    await sink.drained();
  };
  const makeClearText = (): AsyncIterable<Uint8Array> => clearText(design.seed, layout, abortSignal);
  let signatureBytes = 0;
  if (signing.kind === 'unsigned') {
    for await (const chunk of makeClearText()) await write(chunk);
  } else {
    const inside = signing.kind === 'message';
    const signature = await sign(signing.signer, inside, makeClearText, write);
    if (inside) append(signature);
    else signing.signatureSink.write(signature, 0);
    signatureBytes = signature.length;
  }
  const { scriptBytes, payloadBytes, clearTextBytes, payloadSha256 } = layout;
  return { scriptBytes, payloadBytes, clearTextBytes, payloadSha256, signatureBytes };
}
