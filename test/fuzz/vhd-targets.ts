import {
  BAT_UNUSED,
  SHORT_FOOTER_BYTES,
  batmapHeader,
  dynamicDiskHeader,
  hardDiskFooter,
  parentLocatorEntry,
} from '../../src/vhd/layout.js';
import { checksumOf } from '../../src/vhd/structures.js';
import { viewOf } from '../../src/struct.js';
import { SECTOR_BYTES, roundUp } from '../../src/units.js';
import { fieldsOf, numbersAt, type BytesIo, type Target } from './target.js';

const MAX_BAT_FIELDS = 32;
const MAX_BITMAPS = 4;
const ENTRY_BYTES = Uint32Array.BYTES_PER_ELEMENT;

/** The kind of targets whose meaning other readers do not share (`openVhd`): qemu-img is no judge of them. */
export const SECTOR_BITMAP = 'sector bitmap';

function checksumFix(io: BytesIo, offset: number, length: number, at: number): () => void {
  return () => {
    const bytes = new Uint8Array(ENTRY_BYTES);
    viewOf(bytes).setUint32(0, checksumOf(io.read(offset, length), at), false);
    io.write(offset + at, bytes);
  };
}

/** What places blocks in a file, as the good header has it. */
export interface BlockPlaces {
  readonly blockBytes: number;
  readonly bitmapBytes: number;
  readonly entries: readonly number[];
}

export interface VhdFacts {
  readonly targets: readonly Target[];
  readonly numbers: readonly number[];
  /** Undefined for a fixed disk. */
  readonly places: BlockPlaces | undefined;
}

/** The structures of a good VHD. */
export function findVhdTargets(io: BytesIo, fileBytes: number): VhdFacts {
  const targets: Target[] = [];
  const { sizeBytes: footerBytes } = hardDiskFooter;
  const footerFix = (offset: number): (() => void) =>
    checksumFix(io, offset, footerBytes, hardDiskFooter.rows.checksum[0]);
  const addFooter = (kind: string, offset: number): void => {
    const fields = fieldsOf(hardDiskFooter, offset, false);
    targets.push({ kind, io, offset, length: footerBytes, fields, fix: footerFix(offset) });
  };
  const isShort = fileBytes % SECTOR_BYTES === SHORT_FOOTER_BYTES;
  const end = fileBytes - (isShort ? SHORT_FOOTER_BYTES : footerBytes);
  addFooter('footer', end);
  const footer = hardDiskFooter.decode(io.read(end, footerBytes));
  const headerAt = Number(footer.data_offset);
  if (headerAt + dynamicDiskHeader.sizeBytes > end)
    return { targets, numbers: [end / SECTOR_BYTES], places: undefined };
  addFooter('footer copy', 0);
  const header = dynamicDiskHeader.decode(io.read(headerAt, dynamicDiskHeader.sizeBytes));
  const locatorsAt = headerAt + dynamicDiskHeader.rows.parent_locator_entries[0];
  const fix = checksumFix(io, headerAt, dynamicDiskHeader.sizeBytes, dynamicDiskHeader.rows.checksum[0]);
  const { sizeBytes: headerBytes } = dynamicDiskHeader;
  targets.push({
    kind: 'header',
    io,
    offset: headerAt,
    length: headerBytes,
    fields: fieldsOf(dynamicDiskHeader, headerAt, false),
    fix,
  });
  const { sizeBytes: locatorBytes } = parentLocatorEntry;
  for (let index = 0; index < 8; index += 1) {
    const offset = locatorsAt + index * locatorBytes;
    const raw = parentLocatorEntry.decode(io.read(offset, locatorBytes));
    const fields = fieldsOf(parentLocatorEntry, offset, false);
    targets.push({ kind: 'locator', io, offset, length: locatorBytes, fields, fix });
    if (raw.platform_code === 0 || raw.platform_data_length === 0) continue;
    const [dataOffset, length] = [Number(raw.platform_data_offset), raw.platform_data_length];
    targets.push({ kind: 'locator data', io, offset: dataOffset, length, fields: [] });
  }
  const places = findTables(io, header, targets);
  const sectors = places.entries.filter((entry) => entry !== BAT_UNUSED);
  return { targets, numbers: [end / SECTOR_BYTES, headerAt / SECTOR_BYTES, ...sectors], places };
}

function findTables(
  io: BytesIo,
  header: ReturnType<typeof dynamicDiskHeader.decode>,
  targets: Target[],
): BlockPlaces {
  const tableAt = Number(header.table_offset);
  const count = header.max_table_entries;
  const length = count * ENTRY_BYTES;
  const fields = numbersAt(tableAt, Math.min(count, MAX_BAT_FIELDS), ENTRY_BYTES, false);
  targets.push({ kind: 'BAT', io, offset: tableAt, length, fields });
  const view = viewOf(io.read(tableAt, length));
  const entries = Array.from({ length: count }, (_, index) => view.getUint32(index * ENTRY_BYTES, false));
  const bitmapBytes = roundUp(Math.ceil(header.block_size / SECTOR_BYTES / 8), SECTOR_BYTES);
  for (const entry of entries.filter((sector) => sector !== BAT_UNUSED).slice(0, MAX_BITMAPS)) {
    const offset = entry * SECTOR_BYTES;
    targets.push({ kind: SECTOR_BITMAP, io, offset, length: bitmapBytes, fields: [] });
  }
  const batmapAt = tableAt + roundUp(length, SECTOR_BYTES);
  const { sizeBytes } = batmapHeader;
  if (Buffer.from(io.read(batmapAt, 8)).toString('latin1') === 'tdbatmap') {
    const batmapFields = fieldsOf(batmapHeader, batmapAt, false);
    targets.push({ kind: 'batmap', io, offset: batmapAt, length: sizeBytes, fields: batmapFields });
  }
  return { blockBytes: header.block_size, bitmapBytes, entries };
}

/** The disk inside a dynamic VHD, at the places that the good BAT names, whatever became of the BAT. */
export function diskInside(io: BytesIo, { blockBytes, bitmapBytes, entries }: BlockPlaces): BytesIo {
  const place = (offset: number): number | undefined => {
    const entry = entries[Math.floor(offset / blockBytes)];
    if (entry === undefined || entry === BAT_UNUSED) return undefined;
    return entry * SECTOR_BYTES + bitmapBytes + (offset % blockBytes);
  };
  /** Pieces that lie in one block each. */
  const pieces = function* (offset: number, length: number): Generator<{ at: number; length: number }> {
    for (let at = offset; at < offset + length;) {
      const rest = Math.min(blockBytes - (at % blockBytes), offset + length - at);
      yield { at, length: rest };
      at += rest;
    }
  };
  return {
    read(offset, length) {
      const target = new Uint8Array(length);
      for (const { at, length: part } of pieces(offset, length)) {
        const from = place(at);
        if (from !== undefined) target.set(io.read(from, part), at - offset);
      }
      return target;
    },
    write(offset, bytes) {
      for (const { at, length: part } of pieces(offset, bytes.length)) {
        const to = place(at);
        if (to !== undefined) io.write(to, bytes.subarray(at - offset, at - offset + part));
      }
    },
  };
}
