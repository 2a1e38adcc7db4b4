import { expect, test } from 'vitest';
import { parseSeed, randomSeed, seededBytes, seededUuid } from '../../src/kit/seed.js';

test('the same seed and purpose give the same bytes, any other seed or purpose others', () => {
  const bytes = seededBytes('7', 'x', 64);
  expect(seededBytes('7', 'x', 64)).toEqual(bytes);
  expect(seededBytes('7', 'y', 64)).not.toEqual(bytes);
  expect(seededBytes('8', 'x', 64)).not.toEqual(bytes);
});

test('they are those of RFC 5869, by hand', async () => {
  const { createHmac } = await import('node:crypto');
  const key = createHmac('sha256', 'patch-vdi test kit 1').update('7').digest();
  const block = createHmac('sha256', key).update('x').update(Uint8Array.of(1)).digest();
  expect(Buffer.from(seededBytes('7', 'x', 32))).toEqual(block);
});

test.for(['0', '7', '123456', 'abc'])('a UUID of version 4 comes from seed %s', (seed) => {
  const uuid = seededUuid(seed, 'patch');
  expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(seededUuid(seed, 'patch')).toBe(uuid);
  expect(seededUuid(seed, 'another')).not.toBe(uuid);
});

test('seeds are numbers, however they are written, or what a run without a seed printed', () => {
  expect(parseSeed('007')).toBe('7');
  expect(parseSeed('0')).toBe('0');
  expect(parseSeed('9007199254740991')).toBe('9007199254740991');
  const random = randomSeed();
  expect(parseSeed(random)).toBe(random);
  expect(randomSeed()).not.toBe(random);
});

test.for(['', '-1', '1.5', '7x', '9007199254740993', ' 7', 'x'.repeat(1000)])('%j is no seed', (text) => {
  expect(() => parseSeed(text)).toThrow(expect.objectContaining({ kind: 'usage' }));
});
