/* What must hold of every plan, for templates of any shape that could be planned. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mapImage, type TemplateFacts } from '../../src/plan/image-map.js';
import { planTotals } from '../../src/plan/describe.js';
import { planFixedVhd, planRaw } from '../../src/plan/plan-raw.js';
import { planVhd } from '../../src/plan/plan-vhd.js';
import { emissionForStream, type Plan } from '../../src/plan/plan.js';
import { expandEntries, type Segment } from '../../src/plan/segment-list.js';
import { MIB, SECTOR_BYTES } from '../../src/units.js';
import { identity, layouts } from '../plan/layouts.js';

const FORMATS = [
  ['raw', (facts: TemplateFacts): Plan => planRaw(facts)],
  ['fixed VHD', (facts: TemplateFacts): Plan => planFixedVhd(facts, identity)],
  ['dynamic VHD', (facts: TemplateFacts): Plan => planVhd(facts, identity)],
] as const;

const VHD_BLOCK_BYTES = 2 * MIB;
const FOOTER_BYTES = 512;
/** 128 MiB of VHD blocks fit into one sector of BAT; the layouts here are smaller. */
const FIRST_BLOCK_OFFSET = 4096;

function segmentsOf(plan: Plan): Segment[] {
  return [...expandEntries(plan.entries)];
}

/** The part of the payload that each segment covers, in the order of the output. */
function payloadCoverage(segments: readonly Segment[]): Array<[from: number, to: number]> {
  return segments.flatMap(({ content, length }) =>
    content.kind === 'payload' ? [[content.payloadOffset, content.payloadOffset + length]] : [],
  );
}

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Ranges in order, those that continue each other as one. */
function joined(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const { offset, length } of ranges) {
    const last = result.at(-1);
    if (last !== undefined && last.offset + last.length === offset) {
      result[result.length - 1] = { offset: last.offset, length: last.length + length };
    } else result.push({ offset, length });
  }
  return result;
}

describe.each(FORMATS)('every plan of a %s', (_name, planOf) => {
  const holds = (property: (plan: Plan, facts: TemplateFacts) => void): void => {
    fc.assert(
      fc.property(layouts, (facts) => property(planOf(facts), facts)),
      { numRuns: 150 },
    );
  };

  test('is contiguous from 0 to its total', () => {
    holds((plan) => {
      let end = 0;
      for (const { offset, length } of segmentsOf(plan)) {
        expect(offset).toBe(end);
        expect(length).toBeGreaterThan(0);
        end += length;
      }
      expect(end).toBe(plan.outputLength);
      const totals = planTotals(plan);
      expect(totals.literal + totals.payload + totals.template + totals.zeros).toBe(plan.outputLength);
    });
  });

  test('has every byte of the payload once, in the order in which it arrives', () => {
    holds((plan, { payloadLength }) => {
      let next = 0;
      for (const [from, to] of payloadCoverage(segmentsOf(plan))) {
        expect(from).toBe(next);
        next = to;
      }
      expect(next).toBe(payloadLength);
      expect(plan.payloadLength).toBe(payloadLength);
    });
  });

  test('has every byte of the metadata once', () => {
    holds((plan, facts) => {
      const pieces = segmentsOf(plan)
        .flatMap(({ content, length }) =>
          content.kind === 'template' ? [{ offset: content.imageOffset, length }] : [],
        )
        .sort((a, b) => a.offset - b.offset);
      expect(joined(pieces)).toEqual(joined(facts.metadata));
    });
  });

  test('seals the superblock, and in stream order nothing of the seal comes before the end of the body', () => {
    holds((plan) => {
      const { body, seal } = emissionForStream(plan);
      const sealed = [...expandEntries(plan.entries.filter(({ turn }) => turn === 'seal'))];
      expect(sealed.some(({ content }) => content.kind === 'template' && content.imageOffset === 0)).toBe(
        true,
      );
      expect(body.every(({ turn }) => turn !== 'seal')).toBe(true);
      const bodyEnd = [...expandEntries(body)].reduce(
        (end, { offset, length }) => Math.max(end, offset + length),
        0,
      );
      for (const { offset } of expandEntries(seal)) expect(offset).toBeGreaterThanOrEqual(bodyEnd);
    });
  });

  test('seals no payload', () => {
    holds((plan) => {
      const sealed = [...expandEntries(plan.entries.filter(({ turn }) => turn === 'seal'))];
      expect(sealed.every(({ content }) => content.kind !== 'payload')).toBe(true);
    });
  });
});

/** Where the BAT puts the bitmap of each block, in bytes. */
function placesIn([, , bat]: readonly Segment[]): Map<number, number> {
  if (bat?.content.kind !== 'literal') throw new Error('the third segment is the BAT');
  const { bytes } = bat.content;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const places = new Map<number, number>();
  for (let block = 0; block < bytes.length / 4; block += 1) {
    const sector = view.getUint32(block * 4);
    if (sector !== 0xffffffff) places.set(block, sector * SECTOR_BYTES);
  }
  return places;
}

/** One character a sector of a disk: x where anything lies. */
function usedSectors(facts: TemplateFacts): string[] {
  const sectors = Array.from({ length: facts.virtualSize / SECTOR_BYTES }, () => '.');
  for (const { offset, length } of mapImage(facts)) {
    const last = Math.floor((offset + length - 1) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector <= last; sector += 1) sectors[sector] = 'x';
  }
  return sectors;
}

/** The same of the bitmap of a block: its highest bit is its first sector. */
function readBitmap(bitmap: Uint8Array): string {
  const bits = [...bitmap].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return bits.replaceAll('0', '.').replaceAll('1', 'x');
}

describe('every plan of a VHD', () => {
  test('has bitmaps of exactly the sectors that hold anything', () => {
    fc.assert(
      fc.property(layouts, (facts) => {
        const sectors = usedSectors(facts);
        const segments = segmentsOf(planVhd(facts, identity));
        const bitmaps = new Map<number, Uint8Array>();
        for (const { offset, content } of segments) {
          if (content.kind === 'literal') bitmaps.set(offset, content.bytes);
        }
        for (const [block, place] of placesIn(segments)) {
          const wanted = sectors.slice(block * 4096, (block + 1) * 4096).join('');
          expect(readBitmap(bitmaps.get(place) ?? new Uint8Array()) === wanted, `block ${block}`).toBe(true);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('ends with its footer, which is part of the seal; the dynamic one begins with the same bytes', () => {
    fc.assert(
      fc.property(layouts, (facts) => {
        for (const plan of [planFixedVhd(facts, identity), planVhd(facts, identity)]) {
          const last = plan.entries.at(-1);
          expect(last).toMatchObject({ turn: 'seal', offset: plan.outputLength - FOOTER_BYTES });
          expect(last?.parts[0]?.name).toBe('footer');
        }
        const segments = segmentsOf(planVhd(facts, identity));
        expect(segments[0]?.content).toEqual(segments.at(-1)?.content);
      }),
    );
  });

  test('places each block that holds anything once, at a place of its own, data on a page, and no other', () => {
    fc.assert(
      fc.property(layouts, (facts) => {
        const places = placesIn(segmentsOf(planVhd(facts, identity)));
        const used = mapImage(facts).flatMap(({ offset, length }) => {
          const first = Math.floor(offset / VHD_BLOCK_BYTES);
          const last = Math.floor((offset + length - 1) / VHD_BLOCK_BYTES);
          return Array.from({ length: last - first + 1 }, (_, index) => first + index);
        });
        expect([...places.keys()]).toEqual([...new Set(used)].sort((a, b) => a - b));

        const inFile = [...places.values()].sort((a, b) => a - b);
        inFile.forEach((bitmapOffset, index) => {
          const dataOffset = bitmapOffset + 512;
          expect(dataOffset).toBe(FIRST_BLOCK_OFFSET + index * (VHD_BLOCK_BYTES + 4096) + 4096);
        });
        expect(Math.max(...inFile)).toBe(places.get(0));
      }),
      { numRuns: 150 },
    );
  });
});
