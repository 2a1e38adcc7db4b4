import prettyBytes from 'pretty-bytes';
import type { BuildResult } from '../build/build-image.js';
import type { VerifiedSignature } from '../signature/verdict.js';
import { describeBytes } from '../units.js';
import { fieldLines } from './text.js';

function verifiedBy({ signatures, verifiedBy: by }: BuildResult): string {
  if (signatures.length > 0) return signedBy(signatures);
  return by === 'nothing' ? 'nobody asked (--allow-unsigned)' : 'no signature; its SHA-256 was checked';
}

/** Who has signed, a line with the name and one with the fingerprint each. */
export function signedBy(signatures: readonly VerifiedSignature[]): string {
  return signatures
    .map((signature) => {
      const notes = [
        ...(signature.weakDigest ? [`weak digest ${signature.hashAlgorithm} allowed`] : []),
        ...(signature.expiredKey ? ['expired key allowed'] : []),
      ];
      const suffix = notes.length === 0 ? '' : ` (${notes.join(', ')})`;
      return `${signature.userId}${suffix}\n${signature.primaryFingerprint}`;
    })
    .join('\n');
}

/** What a person reads after a build. */
export function summaryLines(result: BuildResult, columns: number): string[] {
  const seconds = result.elapsedMilliseconds / 1000;
  const rate = seconds > 0 ? `, ${describeRate(result.payloadLength / seconds)}` : '';
  return [
    `built ${result.format} image with an upload of ${describeBytes(result.payloadLength)}`,
    ...fieldLines(
      [
        ['image', result.output],
        ['disk', `${describeBytes(result.virtualSize)}, ${describeBytes(result.outputLength)} of image`],
        [
          'file system',
          `${result.filesystem}, UUID ${result.filesystemUuid}${result.label === '' ? '' : `, label ${result.label}`}`,
        ],
        ['VHD', result.vhdUuid === undefined ? undefined : `UUID ${result.vhdUuid}`],
        ['scratch', `${describeBytes(result.scratchBytes)} free beside patch`],
        ['signed by', verifiedBy(result)],
        ['SHA-256', result.sha256],
        ['took', `${seconds.toFixed(2)} s${rate}${result.spooled ? ', through a spool' : ''}`],
        ['warning', result.warnings.length === 0 ? undefined : result.warnings.join('\n')],
      ],
      columns,
    ),
  ];
}

function describeRate(bytesPerSecond: number): string {
  return `${prettyBytes(bytesPerSecond, { binary: true, maximumFractionDigits: 0 })}/s`;
}
