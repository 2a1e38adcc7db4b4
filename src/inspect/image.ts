import { readBytesOf, type ByteReader, type ReadBytes } from '../bytes.js';
import { PatchVdiError } from '../errors.js';
import { openExt, type ExtFilesystem } from '../ext/filesystem.js';
import type { Finding } from '../findings.js';
import { MIB } from '../units.js';
import type { VhdDisk, VhdKind } from '../vhd/open-vhd.js';
import type { FindingList } from './finding-list.js';
import { ImageFilesystem } from './image-filesystem.js';
import type { ImageFile } from './image-file.js';
import { whatElse } from './what-else.js';

/** What an opened image turned out to be. */
export type OpenedFormat = 'raw' | 'vhd' | 'vhd-fixed' | 'vhd-differencing';

/** No read of one call is larger, so that a size from a hostile image cannot become an allocation. */
const MAX_READ_BYTES = 32 * MIB;

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
      throw (await whatElse(this, read, diskBytes)) ?? error;
    }
    return new ImageFilesystem(this, filesystem);
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

/** @throws PatchVdiError `usage` for numbers that are no range of a disk */
export function requireRange(offset: number, length: number): void {
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
