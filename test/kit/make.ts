import { designPatch, type PatchRequest } from '../../src/kit/make-patch.js';
import { openPatch, type PatchSigning } from '../../src/kit/patch-stream.js';

/** A small test patch in memory, and its detached signature if it has one. */
export async function patchAndSignature(
  request: PatchRequest,
  sizeBytes: number,
  signing: PatchSigning = { kind: 'unsigned' },
): Promise<{ readonly bytes: Buffer; readonly signature: Uint8Array | undefined }> {
  const patch = await openPatch(designPatch(request), sizeBytes, signing);
  const parts: Uint8Array[] = [];
  for await (const part of patch.bytes()) parts.push(part);
  return { bytes: Buffer.concat(parts), signature: patch.signature() };
}

export async function patchInMemory(...args: Parameters<typeof patchAndSignature>): Promise<Buffer> {
  return (await patchAndSignature(...args)).bytes;
}
