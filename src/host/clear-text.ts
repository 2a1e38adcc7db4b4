import { constants } from 'node:fs';
import { chmod, mkdtemp, open, statfs, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { passThroughVerifier } from '../inspect/verify-file.js';
import { chunksOf } from '../inspect/file-chunks.js';
import type { SignaturePolicy, VerifiedSignature } from '../signature/verifier.js';
import type { ToolEnvironment } from '../tools/find.js';
import type { MountHolder } from '../tools/mount-holder.js';
import type { SeenPatch } from './mountable.js';

/** In the root folder of the file system. */
const PATCH_FILE = 'patch';
/** The clear text in its folder; a patch that looks at its own name finds it there. */
export const CLEAR_TEXT_FILE = 'patch';

export interface ClearTextOptions {
  readonly holder: MountHolder;
  readonly policy: SignaturePolicy;
  /** `temporaryFolder`: gpgv's home lies there. */
  readonly environment: ToolEnvironment;
  readonly seen: SeenPatch;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
}

/** The clear text, ready to be run. */
export interface ClearText {
  /** Its folder, as programs in the namespace see it: absolute. */
  readonly folder: string;
  readonly signatures: readonly VerifiedSignature[];
  readonly bytes: number;
}

function notRegular(found: string): PatchVdiError {
  return new PatchVdiError('image', 'the patch is not a regular file', {
    context: {
      operation: 'open the mounted patch',
      path: `/${PATCH_FILE}`,
      found,
      expected: 'a regular file',
    },
  });
}

/** Without waiting for whoever should be at the other end of a FIFO, and without following a link. */
async function openPatch(holder: MountHolder): Promise<FileHandle> {
  const path = join(holder.outside, PATCH_FILE);
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let file: FileHandle;
  try {
    file = await open(path, flags);
  } catch (cause) {
    throw notRegular(systemErrorCode(cause) ?? String(cause));
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw notRegular('something else');
}

/**
 * Has gpgv read the mounted `patch` once, and write the clear text into a fresh private folder of the same file system:
 * only what it has verified becomes executable, and `patch` itself is never run. Also the kernel must have read the
 * bytes that our own reader has seen in the image.
 *
 * @throws PatchVdiError `signature` when it must not be trusted, `image` when it is no regular file or other bytes than
 *   we see, `space` when the clear text does not fit, `tool`, `interrupted`
 */
export async function takeClearText(options: ClearTextOptions): Promise<ClearText> {
  const { holder, policy, environment, seen, signal, onProgress } = options;
  const file = await openPatch(holder);
  try {
    const folder = await mkdtemp(join(holder.outside, 'patch-vdi-'));
    const clearTextPath = join(folder, CLEAR_TEXT_FILE);
    const { bavail, bsize } = await statfs(holder.outside);
    const passed = await passThroughVerifier(chunksOf(file, signal), policy, {
      name: `/${PATCH_FILE}`,
      environment,
      clearTextLimitBytes: bavail * bsize,
      clearTextPath,
      wantDigest: true,
      ...(signal === undefined ? {} : { abortSignal: signal }),
      onBytes: (bytes) => onProgress?.(bytes, seen.size),
    });
    if (passed.sha256 !== seen.sha256) {
      throw new PatchVdiError('image', 'the kernel reads another patch than we do', {
        context: {
          operation: 'read the mounted patch',
          path: `/${PATCH_FILE}`,
          found: `SHA-256 ${passed.sha256}`,
          expected: `SHA-256 ${seen.sha256}`,
        },
      });
    }
    // Nobody but root can come here: the mount is in a namespace of its own. `info` is run as somebody else.
    await chmod(clearTextPath, 0o555);
    await chmod(folder, 0o755);
    const { signatures, clearTextBytes } = passed;
    return { folder: join(holder.inside, basename(folder)), signatures, bytes: clearTextBytes };
  } finally {
    await file.close();
  }
}
