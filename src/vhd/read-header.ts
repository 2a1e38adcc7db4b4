import type { ByteReader } from '../bytes.js';
import type { StructValues } from '../struct.js';
import { MIB, SECTOR_BYTES, describeBytes } from '../units.js';
import type { FoundFooter } from './find-footer.js';
import {
  HEADER_COOKIE,
  HEADER_VERSION,
  NO_DATA_OFFSET,
  VHD_BLOCK_BYTES,
  dynamicDiskHeader,
  hardDiskFooter,
} from './layout.js';
import { checksumOf } from './structures.js';
import { hex32, printableBytes, vhdError, type Report } from './words.js';

export type RawHeader = StructValues<(typeof dynamicDiskHeader)['rows']>;

export interface FoundHeader {
  readonly raw: RawHeader;
  /** Where it stands in the file. */
  readonly offset: number;
  /** `table_offset`, checked: a safe integer within the file. */
  readonly tableOffset: number;
}

const STRUCTURE = 'dynamic disk header';
const AFTER_FOOTER_COPY = hardDiskFooter.sizeBytes;

type Quality = 'good' | 'bad cookie' | 'bad checksum' | 'neither';

function qualityOf(bytes: Uint8Array): Quality {
  const raw = dynamicDiskHeader.decode(bytes);
  const cookie = Buffer.from(HEADER_COOKIE).equals(raw.cookie);
  const checksum = raw.checksum === checksumOf(bytes, dynamicDiskHeader.rows.checksum[0]);
  if (cookie) return checksum ? 'good' : 'bad checksum';
  return checksum ? 'bad cookie' : 'neither';
}

/** Undefined where no whole header fits. */
async function headerAt(reader: ByteReader, dataOffset: bigint): Promise<Uint8Array | undefined> {
  const end = BigInt(reader.sizeBytes ?? Number.MAX_SAFE_INTEGER);
  if (dataOffset + BigInt(dynamicDiskHeader.sizeBytes) > end) return undefined;
  const bytes = new Uint8Array(dynamicDiskHeader.sizeBytes);
  await reader.readInto(bytes, Number(dataOffset));
  return bytes;
}

/**
 * The header that the footer leads to; behind the footer copy, where every known program puts it, when there is none
 * and a good one stands there.
 */
async function locate(
  reader: ByteReader,
  footer: FoundFooter,
  report: Report,
): Promise<{ bytes: Uint8Array; quality: Quality; offset: number }> {
  const dataOffset = footer.raw.data_offset;
  const bytes = await headerAt(reader, dataOffset);
  const quality = bytes === undefined ? 'neither' : qualityOf(bytes);
  if (bytes !== undefined && quality !== 'neither') return { bytes, quality, offset: Number(dataOffset) };

  const fieldOffset = footer.offset + hardDiskFooter.rows.data_offset[0];
  const expected = `data_offset of a header that starts with "${HEADER_COOKIE}"`;
  const found = `data_offset ${dataOffset}, where ${
    bytes === undefined
      ? `no header fits into the file${reader.sizeBytes === undefined ? '' : ` of ${reader.sizeBytes} bytes`}`
      : `"${printableBytes(bytes.subarray(0, HEADER_COOKIE.length))}" stands`
  }`;
  const mayGoBack = !reader.forwardOnly && dataOffset !== BigInt(AFTER_FOOTER_COPY);
  const usual = mayGoBack ? await headerAt(reader, BigInt(AFTER_FOOTER_COPY)) : undefined;
  if (usual === undefined || qualityOf(usual) !== 'good') {
    throw vhdError(reader.name, STRUCTURE, { offset: fieldOffset, found, expected });
  }
  report({
    code: 'vhd-data-offset',
    severity: 'error',
    structure: footer.structure,
    offset: fieldOffset,
    found,
    expected: `data_offset ${AFTER_FOOTER_COPY}`,
  });
  return { bytes: usual, quality: 'good', offset: AFTER_FOOTER_COPY };
}

function checkFields(raw: RawHeader, offset: number, report: Report): void {
  const rows = dynamicDiskHeader.rows;
  if (raw.header_version !== HEADER_VERSION) {
    report({
      code: 'vhd-header-version',
      severity: 'error',
      structure: STRUCTURE,
      offset: offset + rows.header_version[0],
      found: `header_version ${hex32(raw.header_version)}`,
      expected: hex32(HEADER_VERSION),
    });
  }
  if (raw.data_offset !== NO_DATA_OFFSET) {
    report({
      code: 'vhd-header-data-offset',
      severity: 'warning',
      structure: STRUCTURE,
      offset: offset + rows.data_offset[0],
      found: `data_offset 0x${raw.data_offset.toString(16)}`,
      expected: 'all ones, or libvhd refuses it',
    });
  }
  if (raw.block_size !== VHD_BLOCK_BYTES) {
    report({
      code: 'vhd-block-size',
      severity: 'warning',
      structure: STRUCTURE,
      offset: offset + rows.block_size[0],
      found: `block_size ${describeBytes(raw.block_size)}`,
      expected: `${VHD_BLOCK_BYTES / MIB} MiB: XAPI corrupts smaller ones without a word, libvhd refuses larger ones`,
    });
  }
}

function reportQuality(bytes: Uint8Array, quality: Quality, offset: number, report: Report): void {
  const { cookie, checksum } = dynamicDiskHeader.rows;
  const raw = dynamicDiskHeader.decode(bytes);
  const common = { severity: 'error', structure: STRUCTURE } as const;
  if (quality === 'bad cookie') {
    report({
      ...common,
      code: 'vhd-header-cookie',
      offset: offset + cookie[0],
      found: `cookie "${printableBytes(raw.cookie)}"`,
      expected: `"${HEADER_COOKIE}"`,
    });
  } else if (quality === 'bad checksum') {
    report({
      ...common,
      code: 'vhd-header-checksum',
      offset: offset + checksum[0],
      found: `checksum ${hex32(raw.checksum)}`,
      expected: hex32(checksumOf(bytes, checksum[0])),
    });
  }
}

/**
 * Reads the header of a dynamic or differencing disk and reports what is wrong with it.
 *
 * @throws PatchVdiError `image` without a header, with blocks that cannot be, or with a BAT outside the file
 */
export async function readHeader(
  reader: ByteReader,
  footer: FoundFooter,
  report: Report,
): Promise<FoundHeader> {
  const { bytes, quality, offset } = await locate(reader, footer, report);
  reportQuality(bytes, quality, offset, report);
  const raw = dynamicDiskHeader.decode(bytes);
  const rows = dynamicDiskHeader.rows;
  const isPowerOfTwo = raw.block_size !== 0 && (raw.block_size & (raw.block_size - 1)) === 0;
  if (!isPowerOfTwo || raw.block_size < SECTOR_BYTES) {
    throw vhdError(reader.name, STRUCTURE, {
      offset: offset + rows.block_size[0],
      found: `block_size ${raw.block_size}`,
      expected: `a power of two from ${SECTOR_BYTES}`,
    });
  }
  const fileEnd = reader.sizeBytes ?? Number.MAX_SAFE_INTEGER;
  if (raw.table_offset >= BigInt(fileEnd)) {
    throw vhdError(reader.name, STRUCTURE, {
      offset: offset + rows.table_offset[0],
      found: `table_offset ${raw.table_offset}`,
      expected: `less than ${fileEnd}, where the file ends`,
    });
  }
  checkFields(raw, offset, report);
  return { raw, offset, tableOffset: Number(raw.table_offset) };
}
