import { MemorySink } from '../io/memory-sink.js';
import { designPatch, type PatchRequest } from '../../src/kit/make-patch.js';
import { writePatch, type PatchSigning } from '../../src/kit/write-patch.js';

/** A small test patch in memory. */
export async function patchInMemory(
  request: PatchRequest,
  sizeBytes: number,
  signing: PatchSigning = { kind: 'unsigned' },
): Promise<Buffer> {
  const sink = new MemorySink(sizeBytes, { seekable: true });
  await writePatch(designPatch(request), sizeBytes, signing, sink);
  return sink.output;
}
