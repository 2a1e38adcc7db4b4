import { PatchVdiError, systemErrorCode } from '../errors.js';

const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** A failed write as one of our kinds: `space` when the disk is full, `sink` for anything else. */
export function writeFailure(path: string, position: number, cause: unknown): PatchVdiError {
  const code = systemErrorCode(cause);
  const found = cause instanceof Error ? cause.message : String(cause);
  if (code !== undefined && NO_SPACE.has(code)) {
    return new PatchVdiError('space', 'there is no room left for the output', {
      context: { operation: 'write', path, offset: position, found },
      hint: 'free some space or choose another place for the output',
      cause,
    });
  }
  if (code === 'EPIPE' || code === 'ECONNRESET') {
    return new PatchVdiError('sink', 'the reader of the output went away', {
      context: { operation: 'write', path, offset: position, found },
      hint: 'look at the error of the program that reads the image; what it got does not mount',
      cause,
    });
  }
  return new PatchVdiError('sink', 'the output could not be written', {
    context: { operation: 'write', path, offset: position, found },
    cause,
  });
}
