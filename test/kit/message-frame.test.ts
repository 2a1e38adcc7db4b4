import { describe, expect, test } from 'vitest';
import { complaintsAbout } from '../../src/signature/complaint.js';
import { PacketReader } from '../../src/signature/packet-reader.js';
import { frameBytes, frameMessage, Framer } from '../../src/kit/message-frame.js';

const ONE_PASS = new Uint8Array(19);
const SIGNATURE_BYTES = 316;
const AROUND = frameBytes(ONE_PASS.length, SIGNATURE_BYTES);
const GIB = 2 ** 30;

const total = (bytes: number) => {
  const frame = frameMessage(bytes, ONE_PASS, SIGNATURE_BYTES);
  const frames = frame.runs.reduce((sum, run) => sum + run.frame.length, 0);
  const clear = frame.runs.reduce((sum, run) => sum + run.clearBytes, 0);
  return { ...frame, sum: frames + clear + SIGNATURE_BYTES, clear };
};

/** Where the number of parts changes, and to both sides of it. */
const edges = [GIB, 2 * GIB, 3 * GIB, 4 * GIB, 5 * GIB, 8 * GIB, 64 * GIB].flatMap((edge) =>
  Array.from({ length: 120 }, (_, index) => edge + AROUND - 60 + index),
);

test.for([[AROUND], [AROUND + 1], [AROUND + 191], [AROUND + 8384], [GIB], [4 * GIB - 1], [2 ** 44]])(
  'a message of %d bytes has that many',
  ([bytes = 0]) => {
    const framed = total(bytes);
    expect(framed).toMatchObject({ sum: bytes, clear: framed.clearTextBytes });
  },
);

test('there is a message of every length around the points where a part more is needed', () => {
  expect(edges.filter((bytes) => total(bytes).sum !== bytes)).toEqual([]);
  expect(edges.filter((bytes) => total(bytes).runs.some((run) => run.clearBytes < 0))).toEqual([]);
  expect(total(GIB).runs).toHaveLength(1);
  expect(total(GIB + AROUND).runs).toHaveLength(2);
});

test('no part is so large that gpgv takes its length for a negative number', () => {
  const parts = [...edges, 3 * GIB, 2 ** 44].flatMap((bytes) => total(bytes).runs);
  expect(Math.max(...parts.map((run) => run.clearBytes))).toBeLessThanOrEqual(GIB);
});

test('the smallest has no clear text', () => {
  expect(total(AROUND).clearTextBytes).toBe(0);
});

/** Reads a message with the reader that uploads go through; the clear text is read from one small buffer. */
function readBack(bytes: number): { literalBytes: number; packets: number; clearFrom: number } {
  const found = { literalBytes: 0, packets: 0, clearFrom: 0 };
  let isLiteral = false;
  const reader = new PacketReader(
    {
      packetStart: ({ tag }) => {
        isLiteral = tag === 11;
        found.packets += 1;
      },
      packetBody: (part) => void (found.literalBytes += isLiteral ? part.length : 0),
      packetEnd: () => undefined,
    },
    { maximumPackets: 3, maximumPacketBytes: 1000 },
    complaintsAbout('signature', 'read', 'message'),
  );
  const onePass = Uint8Array.from([0xc4, 0xff, 0, 0, 0, 13, ...new Uint8Array(13)]);
  const { runs, clearTextBytes } = frameMessage(bytes, onePass, SIGNATURE_BYTES);
  const framer = new Framer(runs);
  const chunk = new Uint8Array(2 ** 24);
  for (const part of framer.frame(new Uint8Array(0))) reader.push(part);
  for (let left = clearTextBytes; left > 0; left -= chunk.length) {
    const next = left < chunk.length ? chunk.subarray(0, left) : chunk;
    for (const part of framer.frame(next)) reader.push(part);
  }
  reader.end();
  found.clearFrom = clearTextBytes;
  return found;
}

describe('the reader of uploads finds all of it in one literal packet', () => {
  test.for([[AROUND], [AROUND + 1], [GIB], [GIB + AROUND - 1], [GIB + AROUND], [8 * GIB + 12_345]])(
    '%d bytes',
    ([bytes = 0]) => {
      const { literalBytes, packets, clearFrom } = readBack(bytes);
      // Format, length of the name, date: RFC 4880 §5.9.
      expect({ literalBytes, packets }).toEqual({ literalBytes: clearFrom + 6, packets: 2 });
    },
  );
});

test('a framer of small pieces writes what one of large pieces does', () => {
  const runs = [
    { frame: Uint8Array.of(1), clearBytes: 3 },
    { frame: Uint8Array.of(2), clearBytes: 0 },
    { frame: Uint8Array.of(3), clearBytes: 2 },
    { frame: Uint8Array.of(4), clearBytes: 0 },
  ];
  const write = (pieces: readonly number[][]): number[] => {
    const framer = new Framer(runs);
    return pieces.flatMap((piece) => [...framer.frame(Uint8Array.from(piece))]).flatMap((part) => [...part]);
  };
  expect(write([[10, 11, 12, 13, 14]])).toEqual([1, 10, 11, 12, 2, 3, 13, 14, 4]);
  expect(() => write([[10, 11, 12, 13, 14, 15]])).toThrow(/as long as was said/);
  expect(write([[10], [11], [], [12], [13], [14]])).toEqual(write([[10, 11, 12, 13, 14]]));
});
