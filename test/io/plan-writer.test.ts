import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PlanWriter } from '../../src/io/plan-writer.js';
import type { RandomAccessFile } from '../../src/io/random-access-file.js';
import { SegmentList, type SegmentDraft } from '../../src/plan/segment-list.js';
import { MIB } from '../../src/units.js';
import { payloadBytes, templateBytes } from '../plan/materialise.js';
import { MemorySink } from './memory-sink.js';

/** One buffer for all reads, as the real file has it: whoever keeps it finds other bytes later. */
function templateFile(): RandomAccessFile {
  let buffer = Buffer.alloc(8192);
  return {
    read(offset, length) {
      if (buffer.length < length) buffer = Buffer.alloc(length);
      templateBytes(offset, length).copy(buffer);
      return buffer.subarray(0, length);
    },
    close: () => undefined,
  };
}

interface Piece {
  readonly kind: SegmentDraft['content']['kind'];
  readonly length: number;
  readonly count: number;
}

/** A plan of such pieces, and the output that it stands for. */
function planOf(pieces: readonly Piece[]) {
  const list = new SegmentList();
  const output: Buffer[] = [];
  let payloadLength = 0;
  let imageOffset = 1000;
  for (const { kind, length, count } of pieces) {
    const literal = Buffer.alloc(length, 0xab);
    const contents = {
      literal: { kind: 'literal', bytes: literal },
      template: { kind: 'template', imageOffset },
      payload: { kind: 'payload', payloadOffset: payloadLength },
      zeros: { kind: 'zeros' },
    } as const;
    const repetitions = kind === 'template' ? 1 : count;
    list.append('metadata', [{ name: kind, length, content: contents[kind] }], repetitions);
    for (let repetition = 0; repetition < repetitions; repetition += 1) {
      if (kind === 'literal') output.push(literal);
      if (kind === 'template') output.push(templateBytes(imageOffset, length));
      if (kind === 'zeros') output.push(Buffer.alloc(length));
      if (kind === 'payload') {
        output.push(payloadBytes(payloadLength, length));
        payloadLength += length;
      }
    }
    imageOffset += length + 13;
  }
  const expected = Buffer.concat(output);
  return { entries: list.finish(expected.length, payloadLength).entries, payloadLength, expected };
}

interface Feeding {
  chunks: number;
  /** Must end up equal to the number of chunks: each is released once. */
  releases: number;
}

/** Feeds the payload in chunks of these sizes, one after the other, again and again. */
async function feed(writer: PlanWriter, payloadLength: number, sizes: readonly number[]): Promise<Feeding> {
  const feeding: Feeding = { chunks: 0, releases: 0 };
  for (let at = 0; at < payloadLength; feeding.chunks += 1) {
    const length = Math.min(sizes[feeding.chunks % sizes.length] ?? 1, payloadLength - at);
    const chunk = payloadBytes(at, length);
    await writer.accept(chunk, () => {
      feeding.releases += 1;
      // Whoever got the chunk back may use it again.
      chunk.fill(0xee);
    });
    at += length;
  }
  return feeding;
}

const piece: fc.Arbitrary<Piece> = fc.record({
  kind: fc.constantFrom('literal', 'template', 'payload', 'payload', 'zeros'),
  length: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 41, max: 3000 })),
  count: fc.constantFrom(1, 1, 2, 5),
});
const chunkSizes = fc.array(
  fc.oneof(fc.constantFrom(1, 2, 3, 7, 31, 997, 8191), fc.integer({ min: 1, max: 9000 })),
  {
    minLength: 1,
    maxLength: 4,
  },
);

describe('whatever the plan and however the payload is cut', () => {
  test.each([
    ['a file', { seekable: true }],
    ['a file that takes its time', { seekable: true, pauseAfter: (write: number) => write % 3 === 0 }],
    ['a stream that takes everything later', { seekable: false, late: true }],
    [
      'a stream that pauses now and then',
      { seekable: false, late: true, pauseAfter: (write: number) => write % 2 === 0 },
    ],
  ])('%s gets exactly the bytes of the plan', async (_name, options) => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 8 }), chunkSizes, async (pieces, sizes) => {
        const { entries, payloadLength, expected } = planOf(pieces);
        const sink = new MemorySink(expected.length, options);
        const writer = new PlanWriter(entries, templateFile(), sink);
        const feeding = await feed(writer, payloadLength, sizes);
        await writer.finish();
        await sink.flush();
        expect(sink.output.equals(expected)).toBe(true);
        expect(feeding.releases).toBe(feeding.chunks);
        expect(sink.positions).toEqual([...sink.positions].sort((a, b) => a - b));
      }),
      { numRuns: 40 },
    );
  });
});

test('one byte at a time, across many small segments', async () => {
  const pieces = Array.from({ length: 50 }, (_, index) => ({
    kind: index % 2 === 0 ? ('payload' as const) : ('literal' as const),
    length: 1 + (index % 5),
    count: 1,
  }));
  const { entries, payloadLength, expected } = planOf(pieces);
  const sink = new MemorySink(expected.length, { seekable: true });
  const writer = new PlanWriter(entries, templateFile(), sink);
  expect(await feed(writer, payloadLength, [1])).toEqual({ chunks: payloadLength, releases: payloadLength });
  await writer.finish();
  expect(sink.output.equals(expected)).toBe(true);
});

test('one chunk across many segments is released once, when all of it was taken', async () => {
  const { entries, payloadLength, expected } = planOf([{ kind: 'payload', length: 3, count: 100 }]);
  const sink = new MemorySink(expected.length, { seekable: false, late: true });
  const writer = new PlanWriter(entries, templateFile(), sink);
  let released = 0;
  await writer.accept(payloadBytes(0, payloadLength), () => (released += 1));
  expect(released).toBe(0);
  await sink.flush();
  expect(released).toBe(1);
  expect(sink.output.equals(expected)).toBe(true);
});

test('template and zeros go out in pieces, so that a slow sink can ask for a pause in between', async () => {
  const { entries, expected } = planOf([
    { kind: 'template', length: 3 * MIB + 5, count: 1 },
    { kind: 'zeros', length: 2 * MIB + 1, count: 1 },
  ]);
  const sink = new MemorySink(expected.length, { seekable: false, late: true, pauseAfter: () => true });
  await new PlanWriter(entries, templateFile(), sink).finish();
  await sink.flush();
  expect(sink.positions).toHaveLength(7);
  expect(sink.output.equals(expected)).toBe(true);
});

describe('a defect is', () => {
  const plan = planOf([{ kind: 'payload', length: 10, count: 1 }]);

  test('an end before all payload came', async () => {
    const writer = new PlanWriter(plan.entries, templateFile(), new MemorySink(10, { seekable: true }));
    await writer.accept(payloadBytes(0, 9), () => undefined);
    await expect(writer.finish()).rejects.toThrow(/all payload was written/);
  });

  test('more payload than planned', async () => {
    const writer = new PlanWriter(plan.entries, templateFile(), new MemorySink(10, { seekable: true }));
    expect(() => writer.accept(payloadBytes(0, 11), () => undefined)).toThrow(/room for every byte/);
  });
});

test('what the sink throws is what the writer throws', async () => {
  const { entries } = planOf([{ kind: 'literal', length: 5, count: 1 }]);
  const full = new Error('ENOSPC');
  const sink = new MemorySink(5, { seekable: true });
  sink.write = () => {
    throw full;
  };
  await expect(new PlanWriter(entries, templateFile(), sink).finish()).rejects.toBe(full);
});
