import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageMemory } from '../../src/io/page-memory.js';
import { KIB, MIB } from '../../src/units.js';
import { payloadBytes } from '../plan/materialise.js';

const PAGE = 4 * KIB;

function readBack(memory: PageMemory, offset: number, length: number): Buffer {
  const target = Buffer.alloc(length, 0xee);
  memory.readInto(target, offset);
  return target;
}

test('whatever the pieces are, what is remembered is what was appended', () => {
  const piece = fc.tuple(fc.integer({ min: 0, max: 3 * PAGE }), fc.boolean());
  const run = fc.property(
    fc.array(piece, { maxLength: 12 }),
    fc.integer({ min: 0, max: 6 }),
    fc.array(
      fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
    ),
    (pieces, budgetPages, places) => {
      const memory = new PageMemory(budgetPages * PAGE);
      let stream = Buffer.alloc(0);
      for (const [length, isZero] of pieces) {
        const bytes = isZero ? Buffer.alloc(length) : payloadBytes(stream.length, length);
        memory.append(Buffer.from(bytes));
        stream = Buffer.concat([stream, bytes]);
      }
      const end = memory.endBytes;
      expect(end).toBeLessThanOrEqual(stream.length);
      // By hand: all full pages until one too many is not zero, and then the start of a page if none was.
      let kept = 0;
      let expectedEnd = stream.length;
      for (let at = 0; at + PAGE <= stream.length; at += PAGE) {
        if (stream.subarray(at, at + PAGE).every((byte) => byte === 0)) continue;
        if (kept === budgetPages) {
          expectedEnd = at;
          break;
        }
        kept += 1;
      }
      expect(end).toBe(expectedEnd);
      for (const [from, to] of places) {
        const [first, last] = [Math.floor(Math.min(from, to) * end), Math.floor(Math.max(from, to) * end)];
        expect(readBack(memory, first, last - first).equals(stream.subarray(first, last))).toBe(true);
      }
    },
  );
  fc.assert(run, { numRuns: 300 });
});

test('a gibibyte of zeros takes no memory, and does not spend the budget', () => {
  const memory = new PageMemory(PAGE);
  const zeros = Buffer.alloc(MIB);
  const before = process.memoryUsage().arrayBuffers;
  for (let count = 0; count < 1024; count += 1) memory.append(zeros);
  memory.append(payloadBytes(0, PAGE));
  expect(memory.endBytes).toBe(1024 * MIB + PAGE);
  expect(readBack(memory, 1024 * MIB - 1, 3)).toEqual(Buffer.from([0, ...payloadBytes(0, 2)]));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * MIB);
});

test('when the budget is spent, nothing more is copied, zeros neither', () => {
  const memory = new PageMemory(2 * PAGE);
  memory.append(payloadBytes(0, 3 * PAGE));
  memory.append(Buffer.alloc(PAGE));
  expect(memory.endBytes).toBe(2 * PAGE);
  expect(readBack(memory, 0, 2 * PAGE).equals(payloadBytes(0, 2 * PAGE))).toBe(true);
});
