import { readBytesOf, type ByteReader, type ReadBytes } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { openExt, type ExtFilesystem } from '../ext/filesystem.js';
import type { Finding } from '../findings.js';
import { openReader, type ReaderPlace } from '../io/open-reader.js';
import { MIB } from '../units.js';
import { looksLikeVhd, openVhd, type VhdDisk, type VhdKind } from '../vhd/open-vhd.js';
import { FOREIGN_START_BYTES, foreignFormatError } from './foreign-formats.js';
import { ImageFilesystem } from './image-filesystem.js';
import type { ImageFile } from './image-file.js';
import { describePartitionTable, findPartitionTable } from './partition-table.js';
import { FindingList } from './finding-list.js';
import { openParent } from './open-parent.js';

export type OpenedFormat = 'raw' | 'vhd' | 'vhd-fixed' | 'vhd-differencing';

export interface OpenImageOptions {
  /** Where the file system starts in the disk, bytes: for a disk with a partition table. Default 0. */
  readonly offsetBytes?: number | undefined;
  /** Reads the bytes as that, whatever they look like. */
  readonly format?: 'raw' | 'vhd' | undefined;
  /** Ends whatever is being read with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long a server or pipe may be silent; 0: for ever. Default 300 for http(s), else 0. */
  readonly idleTimeoutSeconds?: number | undefined;
}

/** No read of one call is larger, so that a size from a hostile image cannot become an allocation. */
const MAX_READ_BYTES = 32 * MIB;

const HTTP_IDLE_SECONDS = 300;

const FORMAT_OF_KIND: Readonly<Record<VhdKind, OpenedFormat>> = {
  fixed: 'vhd-fixed',
  dynamic: 'vhd',
  differencing: 'vhd-differencing',
};

/** The disk inside an image, whatever the image's format. */
interface Disk {
  readonly sizeBytes: number | undefined;
  readInto(target: Uint8Array, offsetBytes: number): Promise<void>;
}

/**
 * An opened image: its disk as bytes, its file system, the file `patch` in it. Reads only what is asked for.
 *
 * Whoever opened it closes it, once, when no read is running; that closes everything that was opened on the way
 * (files, connections, parents of a differencing VHD), but not a reader of the caller's own.
 */
export class Image {
  /** For messages: the path, the URL without its secrets, or `standard input`. */
  readonly name: string;
  readonly format: OpenedFormat;
  /** Bytes of the image file; undefined for a stream. */
  readonly fileBytes: number | undefined;
  /** Bytes of the disk inside; undefined for a stream whose length nobody told. */
  readonly virtualSize: number | undefined;
  /** Where the file system starts in the disk, bytes. */
  readonly offsetBytes: number;
  /** The VHD around the disk, if there is one. */
  readonly vhd: VhdDisk | undefined;
  /** A stream: read forward only, and as little as possible. */
  readonly forwardOnly: boolean;
  readonly #disk: Disk;
  readonly #findings: FindingList;
  readonly #closeAll: () => Promise<void>;
  #filesystem: Promise<ImageFilesystem> | undefined;

  /** @internal */
  constructor(parts: ImageParts) {
    this.name = parts.reader.name;
    this.format = parts.vhd === undefined ? 'raw' : FORMAT_OF_KIND[parts.vhd.kind];
    this.fileBytes = parts.reader.sizeBytes;
    this.vhd = parts.vhd;
    this.forwardOnly = parts.reader.forwardOnly;
    this.offsetBytes = parts.offsetBytes;
    this.#disk = parts.vhd ?? parts.reader;
    this.virtualSize = this.#disk.sizeBytes;
    this.#findings = parts.findings;
    this.#closeAll = parts.close;
  }

  /** What was found wrong so far; grows with what is read. Each finding once. */
  get findings(): readonly Finding[] {
    return this.#findings.all;
  }

  /**
   * Reads bytes of the disk into a new buffer, which is the caller's; at most 32 MiB at once.
   *
   * @throws PatchVdiError `image` when the range is not all there or cannot be read, `usage` for no range at all
   */
  async read(offset: number, length: number): Promise<Uint8Array> {
    requireRange(offset, length);
    if (length > MAX_READ_BYTES) {
      throw new PatchVdiError('usage', 'too much is read at once', {
        context: {
          operation: 'read the disk',
          found: `${length} bytes`,
          expected: `${MAX_READ_BYTES} at most`,
        },
      });
    }
    const target = new Uint8Array(length);
    await this.readInto(target, offset);
    return target;
  }

  /** Fills `target`, which stays the caller's, with bytes of the disk. Errors as for {@link read}. */
  async readInto(target: Uint8Array, offset: number): Promise<void> {
    requireRange(offset, target.length);
    const size = this.virtualSize;
    if (size !== undefined && offset + target.length > size) {
      throw new PatchVdiError('image', 'the disk ends too early', {
        context: {
          operation: 'read the disk',
          path: this.name,
          offset,
          found: `a disk of ${size} bytes`,
          expected: `${target.length} bytes at ${offset}`,
        },
        hint: 'the image is cut off, or not all of the disk',
      });
    }
    await this.#disk.readInto(target, offset);
  }

  /**
   * The file system of the disk, opened once.
   *
   * @throws PatchVdiError `image` when there is none that can be read
   */
  filesystem(): Promise<ImageFilesystem> {
    this.#filesystem ??= this.#openFilesystem();
    return this.#filesystem;
  }

  /**
   * The file `patch` of the root folder.
   *
   * @throws PatchVdiError `image` when there is none, or when it is no regular file
   */
  async patch(): Promise<ImageFile> {
    return (await this.filesystem()).file('/patch');
  }

  /** Frees all that was opened. Idempotent. */
  close(): Promise<void> {
    return this.#closeAll();
  }

  /** @internal */
  report(finding: Finding): void {
    this.#findings.add(finding);
  }

  async #openFilesystem(): Promise<ImageFilesystem> {
    const read: ReadBytes = readBytesOf({
      readInto: (target, offset) => this.readInto(target, this.offsetBytes + offset),
    });
    const diskBytes = this.virtualSize === undefined ? undefined : this.virtualSize - this.offsetBytes;
    const report = (finding: Finding): void => {
      const { offset } = finding;
      this.report(offset === undefined ? finding : { ...finding, offset: offset + this.offsetBytes });
    };
    let filesystem: ExtFilesystem;
    try {
      filesystem = await openExt(read, { report, ...(diskBytes === undefined ? {} : { diskBytes }) });
    } catch (error) {
      throw (await this.#whatElse(read, diskBytes)) ?? error;
    }
    return new ImageFilesystem(this, filesystem);
  }

  /** A disk without an ext file system at that place: what is there instead, if that can be told. */
  async #whatElse(read: ReadBytes, diskBytes: number | undefined): Promise<PatchVdiError | undefined> {
    const bytes = Math.min(FOREIGN_START_BYTES, diskBytes ?? FOREIGN_START_BYTES);
    const start = await read(0, bytes).catch(() => undefined);
    if (start === undefined || startsExt(start)) return undefined;
    const table = findPartitionTable(start);
    if (table === undefined) return foreignFormatError(this.name, start);
    const [first] = table.partitions;
    return new PatchVdiError('image', 'the disk has a partition table', {
      context: {
        path: this.name,
        offset: this.offsetBytes,
        found: describePartitionTable(table),
        expected: 'a file system from the first byte on, as in every patch VDI',
      },
      ...(first === undefined ? {} : { hint: `look into a partition: --offset ${first.offsetBytes}` }),
    });
  }
}

/** @internal */
interface ImageParts {
  readonly reader: ByteReader;
  readonly vhd: VhdDisk | undefined;
  readonly offsetBytes: number;
  readonly findings: FindingList;
  readonly close: () => Promise<void>;
}

/** The superblock's magic is there: then what is wrong with the file system is the news, not what else it may be. */
function startsExt(start: Uint8Array): boolean {
  return start[1024 + 0x38] === 0x53 && start[1024 + 0x39] === 0xef;
}

function requireRange(offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(offset + length) && length >= 0)
    return;
  throw new PatchVdiError('usage', 'that is no range of a disk', {
    context: {
      operation: 'read the disk',
      found: `${length} bytes at ${offset}`,
      expected: 'numbers from 0 on',
    },
  });
}

async function isVhd(reader: ByteReader, format: 'raw' | 'vhd' | undefined): Promise<boolean> {
  if (format !== undefined) return format === 'vhd';
  return await looksLikeVhd(reader);
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
  const remote = typeof place === 'object' ? 'url' in place : /^https?:\/\//i.test(place);
  const seconds = options.idleTimeoutSeconds ?? (remote ? HTTP_IDLE_SECONDS : 0);
  const request = {
    ...(signal === undefined ? {} : { abortSignal: signal }),
    ...(seconds === 0 ? {} : { idleMilliseconds: seconds * 1000 }),
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
        ...(remote || typeof place !== 'string' ? {} : { openParent: (path) => openParent(path, request) }),
      });
    }
    const opened = vhd;
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> =>
      (closing ??= (async () => {
        await opened?.close();
        await reader.close();
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
