import type { ByteReader } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { openReader, type ReaderPlace } from '../io/open-reader.js';
import { looksLikeVhd, openVhd, type VhdDisk } from '../vhd/open-vhd.js';
import { FindingList } from './finding-list.js';
import { Image, requireRange } from './image.js';
import { openParentFile } from './parent-file.js';
import { reportRawView } from './raw-view.js';

/** How `openImage` reads an image; nothing has to be said for an ordinary one. */
export interface OpenImageOptions {
  /** Where the file system starts in the disk, bytes: for a disk with a partition table. Default 0. */
  readonly offsetBytes?: number | undefined;
  /** Reads the bytes as that, whatever they look like. */
  readonly format?: 'raw' | 'vhd' | undefined;
  /** Ends whatever is being read with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** A reader of the caller's own becomes the image's, and is closed with it; when opening fails it is not. */
  readonly ownsReader?: boolean | undefined;
  /** How long a server or pipe may be silent; 0: for ever. Default 300 for http(s), else 0. */
  readonly idleTimeoutSeconds?: number | undefined;
}

const HTTP_IDLE_SECONDS = 300;

async function isVhd(reader: ByteReader, format: 'raw' | 'vhd' | undefined): Promise<boolean> {
  if (format !== undefined) return format === 'vhd';
  return await looksLikeVhd(reader);
}

/** For callers without types. */
function requirePlace(place: unknown): void {
  if (typeof place === 'string' || (typeof place === 'object' && place !== null)) return;
  throw new PatchVdiError('usage', 'there is no image to open', {
    context: { found: String(place), expected: 'a path, a URL, an open descriptor or a reader' },
  });
}

function vhdThroughStream(name: string): PatchVdiError {
  return new PatchVdiError('image', 'a VHD cannot be read as a stream', {
    context: {
      operation: 'open the image',
      path: name,
      found: 'a VHD, whose blocks may lie in any order',
      expected: 'a raw image, or a VHD in a file or behind a server that offers ranges',
    },
    hint: 'save it to a file first; of a pool, ask for format=raw',
  });
}

/**
 * Opens an image: a raw disk, a block device, a fixed, dynamic or differencing VHD (with its parents), by path, URL,
 * descriptor or through a reader of the caller's own. Nothing but its first and last bytes is read yet.
 *
 * @param place a path or an http(s) URL; `{url, headers}`; `{fd, name}`; or a {@link ByteReader}, which stays the
 *   caller's
 * @throws PatchVdiError `usage` for a place that cannot be opened, `image` for an image that cannot be read
 */
export async function openImage(place: ReaderPlace, options: OpenImageOptions = {}): Promise<Image> {
  const { offsetBytes = 0, signal } = options;
  requireRange(offsetBytes, 0);
  requirePlace(place);
  const remote = typeof place === 'object' ? 'url' in place : /^https?:\/\//i.test(place);
  const seconds = options.idleTimeoutSeconds ?? (remote ? HTTP_IDLE_SECONDS : 0);
  const request = {
    ...(signal === undefined ? {} : { abortSignal: signal }),
    idleMilliseconds: seconds * 1000,
  };
  const reader = await openReader(place, request);
  let vhd: VhdDisk | undefined;
  try {
    const findings = new FindingList();
    if (await isVhd(reader, options.format)) {
      if (reader.forwardOnly) throw vhdThroughStream(reader.name);
      vhd = await openVhd(reader, {
        report: (finding) => findings.add(finding),
        nowSeconds: Math.floor(Date.now() / 1000),
        // Parents are files: a server's image must not make us fetch or open anything.
        ...(remote || typeof place !== 'string'
          ? {}
          : { openParent: (path) => openParentFile(place, path, request) }),
      });
    }
    if (vhd !== undefined && options.format === undefined) {
      await reportRawView(reader, vhd, (finding) => findings.add(finding));
    }
    const opened = vhd;
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> =>
      (closing ??= (async () => {
        await opened?.close();
        await reader.close();
        if (options.ownsReader === true && typeof place === 'object' && 'readInto' in place)
          await place.close();
      })());
    const size = vhd?.sizeBytes ?? reader.sizeBytes;
    if (size === 0) {
      throw new PatchVdiError('image', 'the image is empty', {
        context: { path: reader.name, found: '0 bytes', expected: 'a disk image' },
      });
    }
    if (size !== undefined && offsetBytes >= size) {
      throw new PatchVdiError('usage', 'the offset lies behind the disk', {
        context: { path: reader.name, found: `offset ${offsetBytes}`, expected: `below ${size}` },
      });
    }
    return new Image({ reader, vhd, offsetBytes, findings, close });
  } catch (error) {
    await vhd?.close();
    await reader.close();
    throw error;
  }
}
