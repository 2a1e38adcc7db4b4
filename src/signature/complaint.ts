import { PatchVdiError, type ErrorKind } from '../errors.js';

/** The particulars of something wrong in OpenPGP data. */
export interface ComplaintDetails {
  readonly found?: string;
  readonly expected?: string;
  /** Byte offset in the stream or file the complaint is about. */
  readonly offset?: number;
  readonly hint?: string;
  readonly cause?: unknown;
}

/** What errors call the bytes that are checked. */
export const UPLOAD_NAME = 'upload';

/** What to do when data ends too early. */
export const CUT_OFF =
  'it was cut off on its way: compare its length with that at its source, and get it again';

/**
 * Makes the error for something wrong in one certain stream or file. The same packet rules serve uploads and
 * detached signatures (kind `signature`) and keyrings (kind `usage`): who calls the parser says which it is.
 */
export type Complain = (message: string, details?: ComplaintDetails) => PatchVdiError;

/**
 * @param operation a verb phrase
 * @param path the file or stream, as the user knows it
 */
export function complaintsAbout(kind: ErrorKind, operation: string, path: string): Complain {
  return (message, { found, expected, offset, hint, cause } = {}) =>
    new PatchVdiError(kind, message, {
      context: {
        operation,
        path,
        ...(offset === undefined ? {} : { offset }),
        ...(found === undefined ? {} : { found }),
        ...(expected === undefined ? {} : { expected }),
      },
      ...(hint === undefined ? {} : { hint }),
      ...(cause === undefined ? {} : { cause }),
    });
}
