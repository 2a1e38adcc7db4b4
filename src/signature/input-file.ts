import { open } from 'node:fs/promises';
import { systemErrorCode } from '../errors.js';
import { describeBytes } from '../units.js';
import { complaintsAbout } from './complaint.js';

const READ_BYTES = 64 * 1024;

/**
 * Reads a small file that the user named, once and whole, so that what is checked and what is used cannot differ.
 * Pipes are welcome (`<(curl …)`); the caller owns the result.
 *
 * @param what the file's role, with article: `the keyring`
 * @param limitBytes a larger file is refused without reading on
 * @throws PatchVdiError `usage` when it cannot be read, is a folder or is too large
 */
export async function readInputFile(path: string, what: string, limitBytes: number): Promise<Buffer> {
  const complain = complaintsAbout('usage', `read ${what}`, path);
  try {
    const file = await open(path, 'r');
    try {
      if ((await file.stat()).isDirectory()) {
        throw complain(`${what} is a folder`, { found: 'a folder', expected: 'a file' });
      }
      const parts: Buffer[] = [];
      let totalBytes = 0;
      for (;;) {
        const buffer = Buffer.allocUnsafe(READ_BYTES);
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
        if (bytesRead === 0) return Buffer.concat(parts, totalBytes);
        parts.push(buffer.subarray(0, bytesRead));
        totalBytes += bytesRead;
        if (totalBytes > limitBytes) {
          throw complain(`${what} is too large`, {
            found: 'more',
            expected: `at most ${describeBytes(limitBytes)}`,
          });
        }
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    const code = systemErrorCode(error);
    // Our own errors have codes too; they pass.
    if (code === undefined || code.startsWith('PATCH_VDI_')) throw error;
    throw complain(`${what} cannot be read`, { found: code, expected: 'a readable file', cause: error });
  }
}
