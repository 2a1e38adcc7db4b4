import { close, createReadStream, read } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { crc32, createInflateRaw } from 'node:zlib';
import { PatchVdiError } from '../errors.js';
import { KIB, MIB } from '../units.js';
import type { ChunkReceiver, UploadSource } from './chunk.js';
import { pumpReadable } from './pump-readable.js';
import { findUpload, type ZipMember } from './zip-directory.js';

const READ_BYTES = MIB;
/** zlib's default of 16 KiB costs a trip through the thread pool for each. */
const INFLATED_BYTES = 256 * KIB;

/** A read stream closes its descriptor when it is destroyed, whatever `autoClose` says; this one is not its own. */
const READ_ONLY = { read, close: (_fd: number, done: () => void): void => done() };

/**
 * A member of a ZIP archive as the upload, unpacked on the way. Length and checksum are known from the archive's
 * directory; both are checked on what was handed out, before the end is reported.
 */
class ZipSource implements UploadSource {
  readonly name: string;
  readonly contentLength: number;
  readonly repeatable = true;
  readonly #fd: number;
  readonly #member: ZipMember;
  readonly #ownsFd: boolean;
  #reading: Readable | undefined;
  #closed = false;

  constructor(archiveName: string, fd: number, member: ZipMember, ownsFd: boolean) {
    this.name = `${archiveName}, member ${member.name}`;
    this.contentLength = member.bytes;
    this.#fd = fd;
    this.#member = member;
    this.#ownsFd = ownsFd;
  }

  async pump(receive: ChunkReceiver, abortSignal: AbortSignal): Promise<void> {
    const { dataStart, compressedBytes, deflated } = this.#member;
    const packed = createReadStream('', {
      fd: this.#fd,
      fs: READ_ONLY,
      start: dataStart,
      end: dataStart + compressedBytes - 1,
      highWaterMark: READ_BYTES,
    });
    this.#reading = packed;
    const inflate = deflated ? createInflateRaw({ chunkSize: INFLATED_BYTES }) : undefined;
    // The end and the errors of both come out of the second.
    const stream = inflate === undefined ? packed : pipeline(packed, inflate, () => undefined);
    let checksum = 0;
    let bytesOut = 0;
    const counted: ChunkReceiver = (chunk) => {
      bytesOut += chunk.bytes.length;
      checksum = crc32(chunk.bytes, checksum);
      return receive(chunk);
    };
    await pumpReadable(stream, counted, abortSignal, (cause) =>
      this.#damaged(cause.message, 'intact data', cause),
    );
    this.#requireIntact(bytesOut, checksum, inflate?.bytesWritten ?? compressedBytes);
  }

  #requireIntact(bytesOut: number, checksum: number, bytesIn: number): void {
    const member = this.#member;
    const hex = (value: number): string => value.toString(16).padStart(8, '0');
    if (bytesOut !== member.bytes) throw this.#damaged(`${bytesOut} bytes`, `${member.bytes} bytes`);
    if (checksum !== member.crc32) {
      throw this.#damaged(`CRC-32 ${hex(checksum)}`, `CRC-32 ${hex(member.crc32)}`);
    }
    if (bytesIn !== member.compressedBytes) {
      throw this.#damaged(
        `the compressed data end after ${bytesIn} bytes`,
        `${member.compressedBytes} bytes`,
      );
    }
  }

  #damaged(found: string, expected: string, cause?: unknown): PatchVdiError {
    return new PatchVdiError('upload', 'the member of the ZIP archive is damaged', {
      context: { operation: 'unpack the upload', path: this.name, found, expected },
      hint: 'download the archive again',
      ...(cause === undefined ? {} : { cause }),
    });
  }

  close(): void {
    if (this.#closed || !this.#ownsFd) return;
    this.#closed = true;
    // A descriptor closed under a running read could be reused by another file: a stream is closed after its reads.
    if (this.#reading === undefined || this.#reading.closed) close(this.#fd);
    else this.#reading.once('close', () => close(this.#fd)).destroy();
  }
}

/**
 * Opens the upload in a ZIP archive.
 *
 * @param fd of a regular file that starts with the archive; becomes the source's own when `ownsFd`
 * @param member its name, when there may be several that end in .xsupdate
 * @throws PatchVdiError `upload`
 */
export async function openZipSource(
  name: string,
  fd: number,
  lengthBytes: number,
  member: string | undefined,
  ownsFd: boolean,
): Promise<UploadSource> {
  return new ZipSource(name, fd, await findUpload(name, fd, lengthBytes, member), ownsFd);
}
