import type { ImageFormat } from '../../plan/plan.js';
import type { FilesystemName } from '../../tools/mke2fs.js';
import { compressed } from '../compressed-message.js';
import { goodOutcome, type Expected, type Shape } from '../faults/fault.js';
import type { Upload, UploadBench } from '../uploads.js';

/** A kind of good image. */
export interface GoodImage {
  readonly name: string;
  readonly what: string;
  readonly shape: Shape;
  readonly upload: (bench: UploadBench) => Promise<Upload>;
  readonly expected: Expected;
}

export const CONSUMER_OF_GOOD = 'Takes it.';

interface Variation {
  readonly name: string;
  readonly what: string;
  readonly upload: (bench: UploadBench) => Promise<Upload>;
  /** In what it differs from the outcome of other good images. */
  readonly outcome?: Partial<Expected>;
}

/** An upload of that many bytes that is a patch if a patch can be so small. */
const oddSize = (sizeBytes: number): Variation => ({
  name: `good-size-${sizeBytes}`,
  what: `An upload of ${sizeBytes} byte${sizeBytes === 1 ? '' : 's'}, with a detached signature.`,
  upload: (bench) => bench.detachedBytes(sizeBytes),
  // Random bytes are no program.
  outcome: { apply: 'must refuse' },
});

const VARIATIONS: readonly Variation[] = [
  {
    name: 'good-compressed',
    what: 'The signed message is packed into a compressed packet, as gpg does by default.',
    upload: compressed,
  },
  {
    name: 'good-two-signers',
    what: 'A signed message with two signatures, one inside the other.',
    upload: (bench) => bench.signedBy(['signer', 'second']),
  },
  {
    name: 'good-detached',
    what: 'The patch as it is, with its signature in a file of its own.',
    upload: (bench) => bench.detached(),
  },
  ...[1, 4095, 4096, 4097].map(oddSize),
];

const ENDINGS: Readonly<Record<ImageFormat, string>> = {
  raw: 'raw disk',
  vhd: 'dynamic VHD',
  'vhd-fixed': 'fixed VHD',
};

/** Every format with every file system, and variations of the upload in the first of both. */
export function goodImages(
  formats: readonly ImageFormat[],
  filesystems: readonly FilesystemName[],
): GoodImage[] {
  const shapes = formats.flatMap((format) =>
    filesystems.map((filesystem): Shape => ({ format, filesystem })),
  );
  const plain = shapes.map((shape): GoodImage => ({
    name: `good-${shape.format}-${shape.filesystem}`,
    what: `A ${ENDINGS[shape.format]} with ${shape.filesystem}, as patch-vdi build makes it.`,
    shape,
    upload: (bench) => bench.signed(),
    expected: goodOutcome(shape),
  }));
  const [shape] = shapes;
  if (shape === undefined) return plain;
  const varied = VARIATIONS.map(({ name, what, upload, outcome }): GoodImage => {
    return { name, what, shape, upload, expected: { ...goodOutcome(shape), ...outcome } };
  });
  return [...plain, ...varied];
}
