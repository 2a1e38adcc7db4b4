/*
 * Good images with random damage, checksums put right or not: what comes of it is findings, an error of kind `image`,
 * or nothing where nothing was changed. The seed is printed when it fails.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import {
  FOOTER_BYTES,
  HEADER_BYTES,
  makeDynamic,
  makeFixed,
  patternOf,
  seal,
  setField,
  type HandMade,
} from './hand-made.js';
import { folderOf, memoryReader, openCollecting } from './readers.js';
import { FOOTER_FIELDS, HEADER_FIELDS, type SpecifiedField } from './specification.js';

const RUNS = Number(process.env['VHD_DAMAGE_RUNS'] ?? 4000);
const PRINTABLE = /^[ -~]+$/;
const BLOCK_BYTES = 4096;
const SIZE_BYTES = 64 * 1024;
const PIECE_BYTES = 64 * 1024;
/** Footers, header, BAT, batmap, eight locators, of two files. */
const MAX_READS_TO_OPEN = 40;
/** Two for each sector of a piece, in two files. */
const MAX_READS = MAX_READS_TO_OPEN + 2 * 4 * 2 * (PIECE_BYTES / 512);

const parts: HandMade = {
  sizeBytes: SIZE_BYTES,
  blockBytes: BLOCK_BYTES,
  blocks: [{ block: 0 }, { block: 2, sectors: [0, 3, 4, 7] }, { block: 9, sectors: [] }, { block: 15 }],
};

const locator = Buffer.alloc(24);
locator.write('W2ru', 'latin1');
locator.writeUInt32BE(1, 4);
locator.writeUInt32BE(20, 8);
locator.writeUInt32BE(FOOTER_BYTES + HEADER_BYTES, 20);

const parent = makeDynamic({ ...parts, seed: 9, footer: { 'Unique Id': Buffer.alloc(16, 9) } });
const child = makeDynamic({
  ...parts,
  diskType: 4,
  header: {
    'Parent Unique ID': Buffer.alloc(16, 9),
    'Parent Unicode Name': Buffer.from('parent.vhd', 'utf16le').swap16(),
    'Parent Locator Entries': locator,
  },
  behindHeader: Buffer.from('parent.vhd', 'utf16le'),
});
const images = {
  dynamic: makeDynamic(parts),
  differencing: child,
  fixed: makeFixed(patternOf(1, 0, 8192)),
  batmap: makeDynamic({ ...parts, behindTable: Buffer.from('tdbatmap'.padEnd(1024, '\0')) }),
};

type Kind = keyof typeof images;

const NUMBERS = [
  0n,
  1n,
  2n,
  511n,
  512n,
  1024n,
  4096n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** One change: a byte of the metadata, or a whole field with a number that is worth a try. */
const damage = fc.oneof(
  fc.record({ byteAt: fc.nat(4095), fromEnd: fc.boolean(), byte: fc.nat(255) }),
  fc.record({
    field: fc.oneof(
      ...FOOTER_FIELDS.map((one) => fc.constant({ ...one, ofHeader: false })),
      ...HEADER_FIELDS.map((one) => fc.constant({ ...one, ofHeader: true })),
    ),
    places: fc.constantFrom<Array<'start' | 'end'>>(['start'], ['end'], ['start', 'end']),
    number: fc.oneof(fc.constantFrom(...NUMBERS), fc.bigInt(0n, 2n ** 64n - 1n)),
  }),
  fc.record({ entry: fc.nat(15), sector: fc.oneof(fc.nat(200), fc.constantFrom(0xfffffffe, 0xffffffff)) }),
);
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

function isFooter(kind: Kind, where: 'start' | 'end'): boolean {
  return where === 'end' || kind !== 'fixed';
}

function structures(kind: Kind, bytes: Buffer): Array<{ fields: readonly SpecifiedField[]; bytes: Buffer }> {
  const ofEnd = { fields: FOOTER_FIELDS, bytes: bytes.subarray(-FOOTER_BYTES) };
  if (kind === 'fixed') return [ofEnd];
  const copy = { fields: FOOTER_FIELDS, bytes: bytes.subarray(0, FOOTER_BYTES) };
  const header = bytes.subarray(FOOTER_BYTES, FOOTER_BYTES + HEADER_BYTES);
  return [ofEnd, copy, { fields: HEADER_FIELDS, bytes: header }];
}

function apply(kind: Kind, bytes: Buffer, one: Damage): void {
  if ('byteAt' in one) {
    bytes[one.fromEnd ? bytes.length - 1 - one.byteAt : one.byteAt] = one.byte;
  } else if ('entry' in one) {
    const tableAt = FOOTER_BYTES + HEADER_BYTES + (kind === 'differencing' ? 512 : 0);
    bytes.writeUInt32BE(one.sector, tableAt + 4 * one.entry);
  } else {
    const { field, number, places } = one;
    const value = Buffer.from(number.toString(16).padStart(16, '0'), 'hex').subarray(
      -Math.min(8, field.size),
    );
    if (field.ofHeader) {
      setField(HEADER_FIELDS, bytes.subarray(FOOTER_BYTES), field.name, value);
      return;
    }
    for (const place of places) {
      const footer = place === 'end' ? bytes.subarray(-FOOTER_BYTES) : bytes.subarray(0, FOOTER_BYTES);
      if (isFooter(kind, place)) setField(FOOTER_FIELDS, footer, field.name, value);
    }
  }
}

/** Opens, reads here and there, and says what was found; anything but an error of kind `image` goes on upwards. */
async function look(bytes: Buffer, stream: boolean): Promise<string[]> {
  const reader = memoryReader(bytes, { maxReads: MAX_READS, sizeUnknown: stream });
  const { openParent, opened } = folderOf({ 'folder/parent.vhd': parent });
  const found: string[] = [];
  try {
    const { disk, findings, codes } = await openCollecting(reader, { openParent, nowSeconds: 1_700_000_000 });
    found.push(...codes);
    for (const { structure, found: text, expected } of findings) {
      expect(`${structure} ${text} ${expected}`).toMatch(PRINTABLE);
    }
    expect(reader.reads.length).toBeLessThanOrEqual(MAX_READS_TO_OPEN);
    let end = 0;
    for (const { offset, length } of disk.allocatedRuns()) {
      expect(offset).toBeGreaterThanOrEqual(end);
      expect(length).toBeGreaterThan(0);
      end = offset + length;
    }
    expect(end).toBeLessThanOrEqual(disk.sizeBytes);
    for (const at of [0, 5, 8191, disk.sizeBytes / 2, disk.sizeBytes - PIECE_BYTES]) {
      const offset = Math.min(Math.max(0, Math.floor(at)), disk.sizeBytes);
      const target = new Uint8Array(Math.min(PIECE_BYTES, disk.sizeBytes - offset));
      await disk.readInto(target, offset);
    }
    await disk.close();
    expect(opened.every(({ closed }) => closed === 1)).toBe(true);
  } catch (error) {
    if (!isPatchVdiError(error) || error.kind !== 'image') throw error;
    expect(`${error.message} ${error.context.found} ${error.context.expected}`).toMatch(PRINTABLE);
    found.push('image');
  }
  return found;
}

function byteSum(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => sum + byte, 0);
}

test('before any damage nothing is found but the size of the blocks', async () => {
  for (const [kind, bytes] of Object.entries(images)) {
    const codes = new Set(await look(bytes, false));
    expect([...codes], kind).toEqual(kind === 'fixed' ? [] : ['vhd-block-size']);
  }
});

test('random damage gives findings or an error of kind image, with a bounded number of reads', async () => {
  const ends = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...(Object.keys(images) as Kind[])),
      fc.array(damage, { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      fc.boolean(),
      fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 8 }),
      async (kind, damages, sealed, stream, cut) => {
        const good = images[kind];
        const bytes = Buffer.from(good);
        for (const one of damages) apply(kind, bytes, one);
        const parts_ = structures(kind, bytes);
        const goodParts = structures(kind, good);
        // What no checksum covers may change without a word, and so may a footer that is whole again.
        // (The checksum is a sum of bytes: 16 MiB and 1 byte have the same.)
        const covered = parts_.some(
          (part, index) => byteSum(part.bytes) !== byteSum(goodParts[index]?.bytes ?? good),
        );
        if (sealed) for (const part of parts_) seal(part.fields, part.bytes);
        const whole = cut === null ? bytes : bytes.subarray(0, Math.floor(bytes.length * cut));
        const found = await look(whole, stream);
        const news = found.filter((code) => code !== 'vhd-block-size');
        for (const code of new Set(found)) ends.set(code, (ends.get(code) ?? 0) + 1);
        // A stream shows neither its end nor all that a file does.
        if (covered && !sealed && !stream && cut === null) expect(news).not.toEqual([]);
      },
    ),
    { numRuns: RUNS },
  );
  // It was damage: most of it is noticed, and in many ways.
  expect(ends.get('image')).toBeGreaterThan(RUNS / 20);
  expect(ends.size).toBeGreaterThan(15);
});
