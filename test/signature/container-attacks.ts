/* One attack on the container of a signed message a row: a table, best read as a whole. */
import { deflateRawSync, deflateSync } from 'node:zlib';
import { CraftedKey, literal, notation, subpacket, uint } from './craft.js';
import { flip, packet } from './openpgp-bench.js';

/** The good message that every attack here differs from in one thing. Put together here, so it is known to the octet. */
export const mallory = new CraftedKey('Mallory <mallory@example.org>');
export const CONTENT = Buffer.from('echo good\n');
export const SIGNATURE = mallory.version4(CONTENT);
export const ONE_PASS = mallory.onePass();
export const LITERAL = literal(CONTENT, 'name');
export const GOOD = Buffer.concat([ONE_PASS, LITERAL, SIGNATURE]);

export const message = (...parts: Uint8Array[]) => Buffer.concat(parts);
export const compressed = (content: Uint8Array, ...behind: (Uint8Array | string)[]) =>
  packet(8, 1, deflateRawSync(content), ...behind);
/** The old format without a length, as gpg writes it. */
export const compressedToTheEnd = (content: Uint8Array, ...behind: Uint8Array[]) =>
  message(Buffer.of(0xa3, 1), deflateRawSync(content), ...behind);
export const onePass = (...octets: number[]) => packet(4, Buffer.from(octets));
export const idOctets = [...mallory.keyId];
const MARKER = packet(10, 'PGP');
const EXPERIMENTAL = packet(60, 'anything');

export interface Attack {
  readonly name: string;
  readonly upload: Buffer;
  readonly says: string;
  /** Whether gpgv alone would let it pass (measured with 2.2.40). */
  readonly gpgvAccepts?: boolean | 'not asked';
}

export const ATTACKS: readonly Attack[] = [
  // Before, between, behind.
  ...[MARKER, EXPERIMENTAL].flatMap((extra, kind) => {
    const what = kind === 0 ? 'marker' : 'unknown';
    return [
      {
        name: `${what} before`,
        upload: message(extra, GOOD),
        says: 'not a binary signed message',
        gpgvAccepts: kind === 0,
      },
      {
        name: `${what} after the one-pass packet`,
        upload: message(ONE_PASS, extra, LITERAL, SIGNATURE),
        says: 'out of place',
        gpgvAccepts: true,
      },
      {
        name: `${what} after the literal`,
        upload: message(ONE_PASS, LITERAL, extra, SIGNATURE),
        says: 'out of place',
        gpgvAccepts: true,
      },
      {
        name: `${what} after the signature`,
        upload: message(GOOD, extra),
        says: 'something follows',
        gpgvAccepts: true,
      },
    ];
  }),
  { name: 'a second message', upload: message(GOOD, GOOD), says: 'something follows' },
  { name: 'a second literal', upload: message(ONE_PASS, LITERAL, LITERAL, SIGNATURE), says: 'out of place' },
  { name: 'a zero byte behind', upload: message(GOOD, Buffer.alloc(1)), says: 'no OpenPGP packet' },
  { name: 'many zero bytes behind', upload: message(GOOD, Buffer.alloc(100_000)), says: 'no OpenPGP packet' },
  { name: 'text behind', upload: message(GOOD, Buffer.from('\nrm -rf /\n')), says: 'no OpenPGP packet' },
  {
    name: 'bytes within the signature packet',
    upload: message(ONE_PASS, LITERAL, packet(2, SIGNATURE.subarray(6), 'extra')),
    says: 'behind the end of a signature',
    gpgvAccepts: true,
  },
  {
    name: 'bytes within the one-pass packet',
    upload: message(packet(4, ONE_PASS.subarray(6), 'extra'), LITERAL, SIGNATURE),
    says: 'wrong length',
    gpgvAccepts: true,
  },
  {
    name: 'an unhashed notation',
    upload: message(
      ONE_PASS,
      LITERAL,
      mallory.version4(CONTENT, {
        unhashed: message(subpacket(16, mallory.keyId), notation('a@b', 'unsigned')),
      }),
    ),
    says: 'additions that it does not cover',
    gpgvAccepts: true,
  },
  {
    name: 'a long issuer',
    upload: message(
      ONE_PASS,
      LITERAL,
      mallory.version4(CONTENT, { unhashed: subpacket(16, message(mallory.keyId, Buffer.from('hidden'))) }),
    ),
    says: 'additions that it does not cover',
    gpgvAccepts: true,
  },

  // The form of the message.
  {
    name: 'the signature before the content (the old form)',
    upload: message(SIGNATURE, LITERAL),
    says: 'not a binary signed message',
    gpgvAccepts: true,
  },
  { name: 'no signature', upload: LITERAL, says: 'not a binary signed message' },
  { name: 'one-pass packet but no signature', upload: message(ONE_PASS, LITERAL), says: 'cut off' },
  { name: 'two one-pass packets, one signature', upload: message(mallory.onePass(0), GOOD), says: 'cut off' },
  {
    name: 'one one-pass packet, two signatures',
    upload: message(GOOD, SIGNATURE),
    says: 'something follows',
  },
  {
    name: 'the nested flag says that another one-pass packet follows',
    upload: message(mallory.onePass(0), LITERAL, SIGNATURE),
    says: 'out of place',
    gpgvAccepts: true,
  },
  {
    name: 'two one-pass packets, both the last',
    upload: message(ONE_PASS, GOOD, SIGNATURE),
    says: 'out of place',
    gpgvAccepts: true,
  },
  {
    name: 'nested flag 2',
    upload: message(mallory.onePass(2), LITERAL, SIGNATURE),
    says: 'invalid flag',
    gpgvAccepts: true,
  },
  {
    name: '17 signatures',
    upload: message(
      ...Array.from({ length: 16 }, () => mallory.onePass(0)),
      ONE_PASS,
      LITERAL,
      ...Array.from({ length: 17 }, () => SIGNATURE),
    ),
    says: 'too many signatures',
    gpgvAccepts: true,
  },
  {
    name: '100000 one-pass packets',
    upload: message(...Array.from({ length: 100_000 }, () => mallory.onePass(0)), GOOD),
    says: 'too many signatures',
    gpgvAccepts: 'not asked',
  },
  {
    name: 'one-pass version 4',
    upload: message(onePass(4, 0, 8, 1, ...idOctets, 1), LITERAL, SIGNATURE),
    says: 'unknown version',
  },
  {
    name: 'one-pass type 1',
    upload: message(mallory.onePass(1, 1), LITERAL, SIGNATURE),
    says: 'text-mode',
    gpgvAccepts: true,
  },
  {
    name: 'one-pass with another hash',
    upload: message(onePass(3, 0, 10, 1, ...idOctets, 1), LITERAL, SIGNATURE),
    says: 'cannot be checked',
  },
  {
    name: 'a text-mode signature',
    upload: message(ONE_PASS, LITERAL, mallory.version4(CONTENT, { type: 1 })),
    says: 'text-mode',
    gpgvAccepts: true,
  },
  {
    name: 'a version 5 signature',
    upload: message(ONE_PASS, LITERAL, packet(2, 5, SIGNATURE.subarray(7))),
    says: 'unknown version',
  },
  {
    name: 'literal format t',
    upload: message(ONE_PASS, literal(CONTENT, '', 't'), SIGNATURE),
    says: 'not marked as binary',
    gpgvAccepts: true,
  },
  {
    name: 'literal format u',
    upload: message(ONE_PASS, literal(CONTENT, '', 'u'), SIGNATURE),
    says: 'not marked as binary',
    gpgvAccepts: true,
  },
  {
    name: 'literal format l',
    upload: message(ONE_PASS, literal(CONTENT, '', 'l'), SIGNATURE),
    says: 'not marked as binary',
    gpgvAccepts: true,
  },
  {
    name: 'a literal that is all header',
    upload: message(ONE_PASS, packet(11, 'b', 200, 'short'), SIGNATURE),
    says: 'ends within its header',
  },

  // Lengths.
  {
    name: 'a short first part',
    upload: message(
      ONE_PASS,
      Buffer.of(0xcb, 0xe3),
      LITERAL.subarray(6, 14),
      Buffer.of(LITERAL.length - 14),
      LITERAL.subarray(14),
      SIGNATURE,
    ),
    says: 'too short a part',
    gpgvAccepts: true,
  },
  {
    name: 'a signature in parts',
    upload: message(
      ONE_PASS,
      LITERAL,
      Buffer.of(0xc2, 0xe8),
      SIGNATURE.subarray(6, 262),
      Buffer.of(SIGNATURE.length - 262),
      SIGNATURE.subarray(262),
    ),
    says: 'without a definite length',
  },
  {
    name: 'a signature up to the end',
    upload: message(ONE_PASS, LITERAL, Buffer.of(0x8b), SIGNATURE.subarray(6)),
    says: 'without a definite length',
  },
  {
    name: 'a literal up to the end',
    upload: message(ONE_PASS, Buffer.of(0xaf), LITERAL.subarray(6), SIGNATURE),
    says: 'cut off',
  },
  {
    name: 'a signature of 4 GiB',
    upload: message(ONE_PASS, LITERAL, Buffer.of(0xc2, 0xff, 0xff, 0xff, 0xff, 0xff), SIGNATURE),
    says: 'too large',
  },
  {
    name: 'a literal of 4 GiB',
    upload: message(ONE_PASS, Buffer.of(0xcb, 0xff, 0xff, 0xff, 0xff, 0xff), LITERAL),
    says: 'clear text of the signed message is too large',
  },
  {
    name: 'a subpacket beyond its area',
    upload: message(
      ONE_PASS,
      LITERAL,
      packet(2, Buffer.of(4, 0, 1, 8, 0, 2, 200, 2), SIGNATURE.subarray(20)),
    ),
    says: 'parts do not fit',
  },
  {
    name: 'a subpacket of length 0',
    upload: message(
      ONE_PASS,
      LITERAL,
      packet(2, Buffer.of(4, 0, 1, 8, 0, 1, 0), uint(0, 2), SIGNATURE.subarray(30)),
    ),
    says: 'without a type',
  },
  {
    name: 'an unknown algorithm',
    upload: message(ONE_PASS, LITERAL, packet(2, Buffer.of(4, 0, 99), SIGNATURE.subarray(9))),
    says: 'unknown public-key algorithm',
  },

  // Compression.
  {
    name: 'bytes behind the deflate stream',
    upload: compressed(GOOD, 'extra'),
    says: 'behind the compressed data',
    gpgvAccepts: true,
  },
  {
    name: 'bytes behind the deflate stream, up to the end',
    upload: compressedToTheEnd(GOOD, Buffer.from('extra')),
    says: 'behind the compressed data',
    gpgvAccepts: true,
  },
  {
    name: 'a zero byte behind the deflate stream',
    upload: compressedToTheEnd(GOOD, Buffer.alloc(1)),
    says: 'behind the compressed data',
    gpgvAccepts: true,
  },
  {
    name: 'much behind the deflate stream',
    upload: compressedToTheEnd(GOOD, Buffer.alloc(1_000_000, 0x42)),
    says: 'behind the compressed data',
  },
  {
    name: 'bytes behind the zlib stream',
    upload: packet(8, 2, deflateSync(GOOD), 'extra'),
    says: 'behind the compressed data',
    gpgvAccepts: true,
  },
  {
    name: 'a packet behind the compressed one',
    upload: message(compressed(GOOD), MARKER),
    says: 'something follows',
    gpgvAccepts: true,
  },
  {
    name: 'a zero byte behind the compressed packet',
    upload: message(compressed(GOOD), Buffer.alloc(1)),
    says: 'no OpenPGP packet',
    gpgvAccepts: true,
  },
  {
    name: 'something in the compressed packet, before',
    upload: compressed(message(MARKER, GOOD)),
    says: 'not a signed message',
    gpgvAccepts: true,
  },
  {
    name: 'something in the compressed packet, behind',
    upload: compressed(message(GOOD, MARKER)),
    says: 'something follows',
    gpgvAccepts: true,
  },
  {
    name: 'compressed twice',
    upload: compressed(compressed(GOOD)),
    says: 'compressed message within a compressed',
    gpgvAccepts: true,
  },
  {
    name: 'a signature outside of the compressed packet',
    upload: message(ONE_PASS, compressed(LITERAL), SIGNATURE),
    says: 'out of place',
  },
  { name: 'algorithm 0', upload: packet(8, 0, GOOD), says: 'not supported', gpgvAccepts: true },
  { name: 'algorithm 4', upload: packet(8, 4, GOOD), says: 'not supported' },
  { name: 'an empty compressed packet', upload: packet(8), says: 'empty Compressed Data packet' },
  { name: 'nothing but the algorithm', upload: packet(8, 1), says: 'damaged or cut off' },
  { name: 'nothing compressed', upload: compressed(Buffer.alloc(0)), says: 'cut off' },
  {
    name: 'a wrong zlib checksum',
    upload: (() => {
      const z = packet(8, 2, deflateSync(GOOD));
      return flip(z, z.length - 1);
    })(),
    says: 'damaged or cut off',
  },
  {
    name: 'random bytes as deflate',
    upload: packet(8, 1, Buffer.alloc(500, 0xa7)),
    says: 'damaged or cut off',
  },
];
