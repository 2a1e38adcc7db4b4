import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  checkIdentity,
  imageIdentity,
  uuidBytes,
  uuidFromName,
  uuidText,
  type IdentityRequest,
} from '../../src/build/identity.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A version 5 UUID as RFC 9562, section 5.5 and appendix A.4, makes it; written without a look at ours. */
function nameBasedUuid(namespace: string, name: string): string {
  const bytes = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest()
    .subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) % 16) + 5 * 16, 6);
  bytes.writeUInt8((bytes.readUInt8(8) % 64) + 128, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

describe('UUIDs made of a name', () => {
  test('the way of the tests gives the example of RFC 9562', () => {
    const dns = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';
    expect(nameBasedUuid(dns, 'www.example.com')).toBe('2ed6657d-e927-568b-95e1-2665a8aea6a2');
  });

  test.each(['', 'a', 'Größe', 'x'.repeat(1000)])('ours are made in that way: "%s"', (name) => {
    // The namespace is ours for ever: another one would change every reproducible image.
    expect(uuidFromName(name)).toBe(nameBasedUuid('3e0d4b5a-6f0a-4d0e-9d2b-1f6a7c9e5b21', name));
  });
});

test('a UUID goes to bytes and back, in the order of its text', () => {
  const text = '01020304-0506-4708-890a-0b0c0d0e0f10';
  expect([...uuidBytes(text)]).toEqual([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16]);
  expect(uuidText(uuidBytes(text))).toBe(text);
});

describe('the identity of an image', () => {
  const shape = [16_777_216, 5, 'ext4', 'vhd'];

  test('with an epoch is the same for the same inputs', () => {
    const request = { sourceDateEpoch: 1_000_000_000, label: 'patch' };
    expect(imageIdentity(request, shape)).toEqual(imageIdentity(request, shape));
  });

  test('with an epoch is another as soon as anything differs, and its three UUIDs differ', () => {
    const variants = [
      imageIdentity({ sourceDateEpoch: 1 }, shape),
      imageIdentity({ sourceDateEpoch: 2 }, shape),
      imageIdentity({ sourceDateEpoch: 1, label: 'x' }, shape),
      imageIdentity({ sourceDateEpoch: 1 }, [16_777_216, 6, 'ext4', 'vhd']),
      imageIdentity({ sourceDateEpoch: 1 }, [16_777_216, 5, 'ext4', 'raw']),
    ];
    const uuids = variants.flatMap(({ filesystemUuid, hashSeed, vhdUuid }) => [
      filesystemUuid,
      hashSeed,
      vhdUuid,
    ]);
    expect(new Set(uuids).size).toBe(15);
    for (const uuid of uuids) {
      expect(uuid).toMatch(UUID);
      expect(uuid[14]).toBe('5');
    }
  });

  test('without an epoch is random, version 4', () => {
    const [one, other] = [imageIdentity({}, shape), imageIdentity({}, shape)];
    expect(one.filesystemUuid).not.toBe(other.filesystemUuid);
    // Its time is now, or what it is told for all that belongs to it.
    expect(Math.abs(one.timeSeconds - Date.now() / 1000)).toBeLessThan(1000);
    expect(imageIdentity({}, shape, 'raw', 7).timeSeconds).toBe(7);
    for (const uuid of [one.filesystemUuid, one.hashSeed, one.vhdUuid]) {
      expect(uuid).toMatch(UUID);
      expect(uuid[14]).toBe('4');
    }
  });

  test('takes UUIDs as they are given, in lower case', () => {
    const uuid = 'ABCDEF00-0000-0000-0000-000000000001';
    const vhdUuid = '00000000-0000-0000-0000-000000000001';
    const made = imageIdentity({ uuid, vhdUuid, sourceDateEpoch: 1 }, shape);
    expect(made).toMatchObject({ filesystemUuid: uuid.toLowerCase(), vhdUuid });
    expect(made.hashSeed).toBe(imageIdentity({ sourceDateEpoch: 1 }, shape).hashSeed);
  });
});

describe('what may be asked for', () => {
  test.each<[string, IdentityRequest]>([
    ['nothing', {}],
    ['an empty label', { label: '' }],
    ['a label of 16 bytes', { label: 'sixteen bytes ok' }],
    ['eight letters of two bytes each', { label: 'ääääääää' }],
    ['the first second', { sourceDateEpoch: 1 }],
    ['the last second of 32 bits', { sourceDateEpoch: 2 ** 32 - 1 }],
  ])('%s', (_name, request) => {
    expect(() => checkIdentity(request)).not.toThrow();
  });

  test.each<[string, IdentityRequest, string]>([
    ['a label of 17 bytes', { label: 'seventeen bytes !' }, '17 bytes: "seventeen bytes !"'],
    ['a label of 9 letters but 17 bytes', { label: 'ääääääääx' }, '17 bytes: "ääääääääx"'],
    ['a label with a control character', { label: 'a\u001b[2J' }, String.raw`5 bytes: "a\u001b[2J"`],
    ['a label with half a character', { label: 'a\uD800' }, String.raw`4 bytes: "a\ud800"`],
    ['a label with a NUL', { label: 'a\0b' }, String.raw`3 bytes: "a\u0000b"`],
    ['the epoch 0, which e2fsprogs take for "now"', { sourceDateEpoch: 0 }, '0'],
    ['a second before 1970', { sourceDateEpoch: -1 }, '-1'],
    ['a second beyond 32 bits', { sourceDateEpoch: 2 ** 32 }, '4294967296'],
    ['half a second', { sourceDateEpoch: 1.5 }, '1.5'],
    ['no number', { sourceDateEpoch: Number.NaN }, 'NaN'],
    ['"time", which mke2fs would take', { uuid: 'time' }, '"time"'],
    ['"random", which mke2fs would take', { uuid: 'random' }, '"random"'],
    [
      'a UUID without dashes',
      { uuid: '0102030405064708890a0b0c0d0e0f10' },
      '"0102030405064708890a0b0c0d0e0f10"',
    ],
    [
      'a UUID of zeros',
      { uuid: '00000000-0000-0000-0000-000000000000' },
      '"00000000-0000-0000-0000-000000000000"',
    ],
    [
      'a VHD UUID in braces',
      { vhdUuid: '{01020304-0506-4708-890a-0b0c0d0e0f10}' },
      '"{01020304-0506-4708-890a-0b0c0d0e0f10}"',
    ],
    ['an empty UUID', { vhdUuid: '' }, '""'],
  ])('%s is refused', (_name, request, found) => {
    const refusal = expect.objectContaining({
      kind: 'usage',
      context: expect.objectContaining({ found }) as unknown,
    }) as Error;
    expect(() => checkIdentity(request)).toThrow(refusal);
    expect(() => imageIdentity(request, [])).toThrow(refusal);
  });
});
