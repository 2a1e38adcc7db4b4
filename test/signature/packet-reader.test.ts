import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { complaintsAbout } from '../../src/signature/complaint.js';
import { PacketReader, type PacketLimits } from '../../src/signature/packet-reader.js';
import { pieces } from './drive.js';

/** What a reader reports, with body ranges joined, so that it does not depend on the chunks. */
interface Seen {
  readonly tag: number;
  readonly lengthForm: string;
  readonly bodyBytes: number | undefined;
  readonly offset: number;
  body: string;
  ended: boolean;
}

const LIMITS: PacketLimits = { maximumPackets: 10, maximumPacketBytes: 100_000 };

function read(
  bytes: Uint8Array,
  chunks: number | readonly number[] = bytes.length || 1,
  limits = LIMITS,
): Seen[] {
  const seen: Seen[] = [];
  const reader: PacketReader = new PacketReader(
    {
      packetStart: (packet) => void seen.push({ ...packet, body: '', ended: false }),
      packetBody: (view) => {
        const packet = seen.at(-1);
        expect(packet?.ended).toBe(false);
        expect(view.length).toBeGreaterThan(0);
        if (packet !== undefined) packet.body += Buffer.from(view).toString('latin1');
      },
      packetEnd: () => {
        const packet = seen.at(-1);
        expect(packet?.ended).toBe(false);
        if (packet !== undefined) packet.ended = true;
      },
    },
    limits,
    complaintsAbout('signature', 'read packets', 'test'),
  );
  for (const piece of pieces(bytes, chunks)) reader.push(piece);
  expect(reader.offset).toBe(bytes.length);
  reader.end();
  return seen;
}

const bytes = (...parts: (string | number | Uint8Array)[]) =>
  Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part as string, 'latin1'))),
  );
const text = (length: number) => 'abcdefghij'.repeat(Math.ceil(length / 10)).slice(0, length);

/** Each with one packet that is followed by an empty packet 13, unless it goes up to the end. */
const FRAMINGS: readonly (readonly [string, Buffer, number, string, string])[] = [
  ['old, one octet', bytes(0x88, 3, 'abc'), 2, 'definite', 'abc'],
  ['old, two octets', bytes(0x89, 1, 2, text(258)), 2, 'definite', text(258)],
  ['old, four octets', bytes(0x8a, 0, 0, 1, 2, text(258)), 2, 'definite', text(258)],
  ['old, empty', bytes(0x88, 0), 2, 'definite', ''],
  ['new, one octet', bytes(0xc2, 191, text(191)), 2, 'definite', text(191)],
  ['new, two octets, least', bytes(0xc2, 192, 0, text(192)), 2, 'definite', text(192)],
  ['new, two octets, most', bytes(0xc2, 223, 255, text(8383)), 2, 'definite', text(8383)],
  ['new, five octets', bytes(0xc2, 255, 0, 0, 0, 5, 'abcde'), 2, 'definite', 'abcde'],
  ['new, empty', bytes(0xc2, 0), 2, 'definite', ''],
  ['partial', bytes(0xcb, 0xe9, text(512), 3, 'end'), 11, 'partial', `${text(512)}end`],
  ['partial, nothing at its end', bytes(0xcb, 0xe9, text(512), 0), 11, 'partial', text(512)],
  [
    'partial, several parts, a last one with another length form',
    bytes(0xcb, 0xe9, text(512), 0xea, text(1024), 255, 0, 0, 0, 1, 'y'),
    11,
    'partial',
    `${text(512)}${text(1024)}y`,
  ],
];

describe('framing', () => {
  it.each(FRAMINGS)('%s', (_, packet, tag, lengthForm, body) => {
    const bodyBytes = lengthForm === 'definite' ? body.length : undefined;
    const expected = [
      { tag, lengthForm, bodyBytes, offset: 0, body, ended: true },
      { tag: 13, lengthForm: 'definite', bodyBytes: 0, offset: packet.length, body: '', ended: true },
    ];
    for (const chunks of [packet.length + 2, 1, [1, 2, 3], 511, 513]) {
      expect(read(bytes(packet, 0xcd, 0), chunks)).toEqual(expected);
    }
  });

  it('indeterminate', () => {
    const expected = [
      { tag: 8, lengthForm: 'indeterminate', bodyBytes: undefined, offset: 0, body: 'abc', ended: true },
    ];
    for (const chunks of [4, 1]) expect(read(bytes(0xa3, 'abc'), chunks)).toEqual(expected);
    expect(read(bytes(0xa3))).toMatchObject([{ body: '', ended: true }]);
  });

  it('a whole chunk within a body is handed on as it is', () => {
    const chunk = Buffer.alloc(1000);
    const views: Uint8Array[] = [];
    const handler = { packetStart: () => undefined, packetEnd: () => undefined };
    const reader = new PacketReader(
      { ...handler, packetBody: (view) => void views.push(view) },
      LIMITS,
      complaintsAbout('signature', 'read', 'test'),
    );
    reader.push(bytes(0xcb, 0xfe));
    reader.push(chunk);
    expect(views[0]).toBe(chunk);
  });

  it('chunks do not matter (property)', () => {
    const all = FRAMINGS.map(([, packet]) => packet);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...all), { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 5 }),
        (packets, chunks) => {
          const stream = bytes(...packets);
          expect(read(stream, chunks)).toEqual(read(stream));
        },
      ),
    );
  });

  it('any bytes are read or refused, never anything else (property)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (stream) => {
        try {
          read(stream, 1);
        } catch (error) {
          expect(error).toMatchObject({ kind: 'signature' });
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('refused', () => {
  it.each<readonly [string, Buffer, string, number]>([
    ['no packet', bytes(0x41), 'no OpenPGP packet', 0],
    ['no packet behind one', bytes(0xcd, 1, 'a', 0), 'no OpenPGP packet', 3],
    ['a short first part', bytes(0xcb, 0xe8, text(256), 0), 'too short a part', 0],
    ['a short later part', bytes(0xcb, 0xe9, text(512), 0xe0, 'x', 0), 'too short a part', 0],
    ['a partial signature', bytes(0xc2, 0xe9, text(512), 0), 'without a definite length', 0],
    ['a signature up to the end', bytes(0x8b, 'abc'), 'without a definite length', 0],
    ['a large signature', bytes(0xcd, 0, 0xc2, 255, 0, 1, 0x86, 0xa1), 'too large', 2],
    ['cut off in the length', bytes(0xc2, 255, 0, 0), 'ends within a Signature packet', 4],
    ['cut off after the tag', bytes(0xc2), 'ends within a Signature packet', 1],
    ['cut off in the body', bytes(0xc2, 5, 'abcd'), 'ends within a Signature packet', 6],
    ['cut off between parts', bytes(0xcb, 0xe9, text(512)), 'ends within a Literal Data packet', 514],
    ['too many', bytes(...Array.from({ length: 11 }, () => bytes(0xcd, 0))), 'too many packets', 20],
  ])('%s', (_, stream, message, offset) => {
    for (const chunks of [stream.length, 1]) {
      expect(() => read(stream, chunks)).toThrow(
        expect.objectContaining({
          kind: 'signature',
          message: expect.stringContaining(message),
          context: expect.objectContaining({ offset }),
        }),
      );
    }
  });
});
