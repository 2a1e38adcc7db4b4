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

/** A failed read of what is to be the output: a device is looked at before it is written. */
export function readFailure(path: string, position: number, cause: unknown): PatchVdiError {
  const found = cause instanceof Error ? cause.message : String(cause);
  return new PatchVdiError('sink', 'the output could not be read', {
    context: { operation: 'read', path, offset: position, found },
    hint: 'the device seems to be faulty: look at the messages of the kernel (dmesg), or take another one',
    cause,
  });
}
