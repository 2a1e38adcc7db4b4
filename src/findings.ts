import { PatchVdiError } from './errors.js';
import type { FindingCode } from './finding-codes.js';

/**
 * Something about an image that is not as it should be. Readers report what they find and go on wherever the rest
 * can still be told; what cannot be read past is a {@link PatchVdiError} of kind `image`.
 */
export interface Finding {
  /** Stable name for programs. */
  readonly code: FindingCode;
  /** `error`: the image is damaged or lies. `warning`: worth knowing, the content is as it stands. */
  readonly severity: 'error' | 'warning';
  /** What it is about, for people: `group descriptor 3`, `footer`. */
  readonly structure: string;
  /** Whether `offset` counts bytes of the image file or of the disk inside. The same for raw images. */
  readonly space: 'file' | 'disk';
  /** Where the structure, or the field that is wrong, starts; in bytes. */
  readonly offset: number | undefined;
  readonly found: string;
  readonly expected: string;
  /** What to do about it, where that is not plain. */
  readonly hint?: string;
}

export type ReportFinding = (finding: Finding) => void;

/** A finding as the error that it is where nothing may be wrong. */
export function findingError(finding: Finding, path?: string): PatchVdiError {
  const { structure, space, offset, found, expected } = finding;
  return new PatchVdiError('image', `${structure} is not as it should be`, {
    context: {
      operation: `read ${structure}`,
      ...(path === undefined ? {} : { path }),
      ...(offset === undefined ? {} : { offset, space }),
      found,
      expected,
    },
  });
}

/** For readers that trust nothing that is damaged: errors are thrown, warnings are nothing to them. */
export const throwErrors: ReportFinding = (finding) => {
  if (finding.severity === 'error') throw findingError(finding);
};
