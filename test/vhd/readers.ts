import type { ByteReader } from '../../src/bytes.js';
import { PatchVdiError } from '../../src/errors.js';
import type { Finding } from '../../src/findings.js';
import { openVhd, type OpenVhdOptions, type VhdDisk } from '../../src/vhd/open-vhd.js';

export interface RecordedRead {
  readonly offset: number;
  readonly length: number;
}

export interface MemoryReader extends ByteReader {
  readonly reads: RecordedRead[];
  closed: number;
}

export interface MemoryOptions {
  readonly name?: string;
  /** Only forwards: a read that starts before the end of the one before it fails. Without a size, too. */
  readonly stream?: boolean;
  /** The size is not known, and reads may go anywhere. */
  readonly sizeUnknown?: boolean;
  /** More reads than that are a reader that was caught in a loop. */
  readonly maxReads?: number;
}

/** Nothing that an image says makes a reader ask for more at once. */
const MAX_READ_BYTES = 64 * 1024 * 1024;

/** Bytes in memory, which remembers what was read of them. */
export function memoryReader(bytes: Uint8Array, options: MemoryOptions = {}): MemoryReader {
  const { name = 'folder/child.vhd', stream = false, sizeUnknown = stream, maxReads = 1e6 } = options;
  const reads: RecordedRead[] = [];
  let position = 0;
  return {
    name,
    sizeBytes: sizeUnknown ? undefined : bytes.length,
    forwardOnly: stream,
    reads,
    closed: 0,
    readInto(target, offset) {
      reads.push({ offset, length: target.length });
      if (reads.length > maxReads) throw new Error('the reader does not come to an end');
      if (target.length > MAX_READ_BYTES) throw new Error(`a read of ${target.length} bytes`);
      if (!Number.isSafeInteger(offset) || offset < 0) throw new Error(`a read at ${offset}`);
      if (offset + target.length > bytes.length) {
        const context = { found: `the end at ${bytes.length}`, expected: `${offset + target.length} bytes` };
        return Promise.reject(new PatchVdiError('image', 'the bytes end too early', { context }));
      }
      if (stream && offset < position) throw new Error(`a read at ${offset}, behind it already ${position}`);
      position = offset + target.length;
      target.set(bytes.subarray(offset, offset + target.length));
      return Promise.resolve();
    },
    close() {
      this.closed += 1;
      return Promise.resolve();
    },
  };
}

/** Opens with the findings collected. */
export async function openCollecting(
  reader: ByteReader,
  options: Partial<OpenVhdOptions> = {},
): Promise<{ disk: VhdDisk; findings: Finding[]; codes: string[] }> {
  const findings: Finding[] = [];
  const disk = await openVhd(reader, { report: (finding) => findings.push(finding), ...options });
  return { disk, findings, codes: findings.map(({ code }) => code) };
}

/** All of a disk, in pieces of an odd length, so that reads start and end anywhere. */
export async function readDisk(disk: VhdDisk, pieceBytes = 1_000_003): Promise<Buffer> {
  const all = Buffer.alloc(disk.sizeBytes, 0xee);
  for (let at = 0; at < all.length; at += pieceBytes) {
    await disk.readInto(all.subarray(at, Math.min(all.length, at + pieceBytes)), at);
  }
  return all;
}

/** What `openParent` is given: files by path; anything else is not there. */
export function folderOf(files: Readonly<Record<string, Uint8Array>>): {
  openParent: (path: string) => Promise<ByteReader>;
  asked: string[];
  opened: MemoryReader[];
} {
  const asked: string[] = [];
  const opened: MemoryReader[] = [];
  return {
    asked,
    opened,
    openParent(path) {
      asked.push(path);
      const bytes = files[path];
      if (bytes === undefined) return Promise.reject(new Error(`ENOENT: ${path}`));
      const reader = memoryReader(bytes, { name: path });
      opened.push(reader);
      return Promise.resolve(reader);
    },
  };
}
