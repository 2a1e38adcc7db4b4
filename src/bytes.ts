/**
 * Reads `lengthBytes` bytes at `offsetBytes` of an image; always all of them, or it throws.
 * The buffer it returns belongs to the caller until the next call.
 */
export type ReadBytes = (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;

/**
 * Bytes that can be read at any place: those of a file, a device, a web server, or the disk inside an image.
 * Whoever opened one closes it.
 */
export interface ByteReader {
  /** For messages: a path, a URL without its secrets, or `standard input`. */
  readonly name: string;
  /** Undefined for a stream whose length nobody told. */
  readonly sizeBytes: number | undefined;
  /**
   * A stream: bytes that were passed over are remembered only as far as memory allows, so whoever reads goes from
   * front to back as well as it can, and reads no more than it needs.
   */
  readonly forwardOnly: boolean;
  /**
   * Fills all of `target`, which stays the caller's, from that place. Calls may overlap in time, except on a stream.
   *
   * @throws PatchVdiError `image` when the bytes end before the range does, cannot be read, or (of a stream) are
   *   forgotten; the reason of the signal that the reader was opened with
   */
  readInto(target: Uint8Array, offsetBytes: number): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** As {@link ReadBytes} wants it, with a buffer of its own for each call. */
export function readBytesOf(reader: Pick<ByteReader, 'readInto'>): ReadBytes {
  return async (offsetBytes, lengthBytes) => {
    const target = new Uint8Array(lengthBytes);
    await reader.readInto(target, offsetBytes);
    return target;
  };
}
