import type { ImageOptions } from '../build/options.js';
import { faultNamed } from '../kit/faults/catalogue.js';
import type { Fault } from '../kit/faults/fault.js';
import { makeFaultyVdi } from '../kit/make-faulty-vdi.js';
import type { PatchDesign } from '../kit/patch-stream.js';
import { manifestExpected } from '../kit/suite/manifest.js';
import { DEFAULT_CREATED_AT } from '../kit/test-key.js';
import type { FilesystemName } from '../tools/mke2fs.js';
import { describeBytes } from '../units.js';
import { environmentOfProcess } from './environment.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

/** `test vdi --fault`, its options read. */
export interface FaultRequest {
  readonly faultName: string;
  readonly path: string;
  readonly force: boolean;
  readonly design: PatchDesign;
  readonly patchBytes: number;
  readonly image: ImageOptions;
  readonly wantsJson: boolean;
}

/** ext4, as everywhere, unless the fault exists only in another one. */
function usualFilesystem({ filesystems }: Fault): FilesystemName {
  return filesystems.find((name) => name === 'ext4') ?? filesystems[0] ?? 'ext4';
}

export async function testFault(request: FaultRequest, context: CommandContext): Promise<void> {
  const { path, force, design, patchBytes, image } = request;
  const fault = faultNamed(request.faultName);
  const shape = { format: image.format, filesystem: image.filesystem ?? usualFilesystem(fault) };
  const made = await makeFaultyVdi({
    fault,
    shape,
    design,
    patchBytes,
    diskBytes: image.size,
    path,
    force,
    epochSeconds: image.sourceDateEpoch ?? DEFAULT_CREATED_AT,
    environment: environmentOfProcess(),
    abortSignal: context.interrupts.signal,
  });
  const { name, family, what, consumer } = fault;
  const { virtualSize, announcedLength, keyring } = made;
  const { seed } = design;
  if (request.wantsJson) {
    const expected = manifestExpected(fault.expected(shape));
    const upload = { bytes: made.uploadBytes, sha256: made.uploadSha256 };
    const facts = { output: path, ...shape, virtualSize, announcedLength, keyring, seed, upload };
    context.printJson({ ok: true, ...facts, fault: name, family, what, consumer, expected });
    return;
  }
  const lines = fieldLines(
    [
      ['image', path],
      ['fault', name],
      ['wrong', what],
      ['a good consumer', consumer],
      ['disk', `${describeBytes(virtualSize)}, ${shape.format}, ${shape.filesystem}`],
      ['announce', fault.layer === 'file' && fault.isStream ? `${announcedLength} bytes` : undefined],
      ['keyring', keyring],
      ['seed', seed],
    ],
    columnsOf(process.stdout),
  );
  process.stdout.write(`${['made an image with a fault', ...lines].join('\n')}\n`);
}
