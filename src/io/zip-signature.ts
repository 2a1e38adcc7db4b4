import { PatchVdiError } from '../errors.js';
import type { UploadSource } from './chunk.js';

/** APPNOTE 4.3.7 and 4.3.16: the first member, or the end of an archive without any. */
const SIGNATURES: readonly (readonly number[])[] = [
  [0x50, 0x4b, 0x03, 0x04],
  [0x50, 0x4b, 0x05, 0x06],
];
export const ZIP_SIGNATURE_BYTES = 4;

/** @param start the first four bytes of a file, or fewer */
export function startsZip(start: Uint8Array): boolean {
  return SIGNATURES.some((signature) => signature.every((byte, index) => start[index] === byte));
}

/**
 * The same source, which ends with an error when it turns out to bring a ZIP archive: the directory of an archive is at
 * its end, and a member cannot be trusted before it was read.
 */
export function refusingZip(source: UploadSource): UploadSource {
  const start: number[] = [];
  return {
    name: source.name,
    contentLength: source.contentLength,
    pump: (receive, abortSignal) =>
      source.pump((chunk) => {
        if (start.length < ZIP_SIGNATURE_BYTES) {
          start.push(...chunk.bytes.subarray(0, ZIP_SIGNATURE_BYTES - start.length));
          if (startsZip(Uint8Array.from(start))) throw zipInAStream(source.name);
        }
        return receive(chunk);
      }, abortSignal),
    close: () => source.close(),
  };
}

function zipInAStream(name: string): PatchVdiError {
  return new PatchVdiError('upload', 'a ZIP archive cannot be unpacked while it comes in', {
    context: { path: name, offset: 0, found: 'a ZIP archive', expected: 'the upload itself, or a ZIP file' },
    hint: 'save it and name the file; or give --no-unzip if the archive itself is the upload',
  });
}
