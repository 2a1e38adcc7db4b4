import { describe, expect, test } from 'vitest';
import {
  SegmentList,
  expandEntries,
  expandEntry,
  payloadStride,
  type PlanEntry,
  type SegmentDraft,
} from '../../src/plan/segment-list.js';

const zeros = (length: number): SegmentDraft => ({ name: 'zeros', length, content: { kind: 'zeros' } });
const payload = (length: number, payloadOffset: number): SegmentDraft => ({
  name: 'patch',
  length,
  content: { kind: 'payload', payloadOffset },
});
const literal = (length: number, byteCount = length): SegmentDraft => ({
  name: 'words',
  length,
  content: { kind: 'literal', bytes: new Uint8Array(byteCount) },
});
const template = (length: number, imageOffset: number): SegmentDraft => ({
  name: 'inode tables',
  length,
  content: { kind: 'template', imageOffset },
});

/** A list that has 100 bytes already, 60 of them payload. */
function begun(): SegmentList {
  const list = new SegmentList();
  list.append('metadata', [zeros(40)]);
  list.append('payload', [payload(60, 0)]);
  return list;
}

describe('the door refuses', () => {
  test.each([
    ['an entry without parts', [], 1, /has parts and repetitions/],
    ['no repetition', [zeros(1)], 0, /has parts and repetitions/],
    ['half a repetition', [zeros(1)], 1.5, /has parts and repetitions/],
    ['a negative number of them', [zeros(1)], -1, /has parts and repetitions/],
    ['an empty segment', [zeros(8), zeros(0)], 1, /"zeros" is not empty/],
    ['a segment of negative length', [zeros(-1)], 1, /non-negative/],
    ['half a byte', [zeros(0.5)], 1, /safe/],
    ['a literal that is too short', [literal(5, 4)], 1, /the literal "words" has 5 bytes/],
    ['a literal that is too long', [literal(5, 6)], 1, /the literal "words" has 5 bytes/],
    [
      'payload that leaves something out',
      [payload(5, 61)],
      1,
      /payload continues at 60 in "patch", not at 61/,
    ],
    ['payload that comes twice', [payload(5, 59)], 1, /payload continues at 60/],
    ['a gap within an entry', [payload(5, 60), zeros(1), payload(5, 66)], 1, /continues at 65/],
    ['a repeated place in the template', [template(5, 0)], 2, /is not a place in the template/],
    ['more bytes than can be counted', [zeros(2 ** 52)], 4, /safe/],
  ])('%s', (_name, parts, count, message) => {
    const list = begun();
    expect(() => list.append('payload', parts, count)).toThrow(message);
  });

  test('a total that the caller did not expect', () => {
    expect(() => begun().finish(99, 60)).toThrow(/add up to 99 bytes \(they do to 100\)/);
  });

  test('an amount of payload that the caller did not expect', () => {
    expect(() => begun().finish(100, 61)).toThrow(/hold 61 bytes of payload \(60\)/);
  });
});

describe('what was appended', () => {
  test('lies one behind the other, and adds up', () => {
    const list = begun();
    list.append('payload', [zeros(4), payload(6, 60)], 3);
    list.append('seal', [literal(2), template(8, 4096)]);
    const { entries, outputLength } = list.finish(140, 78);
    expect(outputLength).toBe(140);
    expect(entries.map(({ turn, offset, count, stride }) => ({ turn, offset, count, stride }))).toEqual([
      { turn: 'metadata', offset: 0, count: 1, stride: 40 },
      { turn: 'payload', offset: 40, count: 1, stride: 60 },
      { turn: 'payload', offset: 100, count: 3, stride: 10 },
      { turn: 'seal', offset: 130, count: 1, stride: 10 },
    ]);
  });

  test('lets payload go on behind repetitions', () => {
    const list = begun();
    list.append('payload', [payload(10, 60)], 4);
    expect(() => list.append('payload', [payload(1, 70)])).toThrow(/continues at 100/);
    list.append('payload', [payload(1, 100)]);
    expect(list.length).toBe(141);
  });

  test('is not spoiled by what was refused', () => {
    const list = begun();
    expect(() => list.append('payload', [payload(5, 60), zeros(0)])).toThrow();
    list.append('payload', [payload(5, 60)]);
    expect(list.finish(105, 65).entries).toHaveLength(3);
  });
});

describe('expandEntry', () => {
  const entry: PlanEntry = {
    turn: 'payload',
    offset: 1000,
    count: 3,
    stride: 10,
    parts: [literal(2), payload(3, 50), zeros(1), payload(4, 53)],
  };

  test('gives every repetition its place, and its part of the payload', () => {
    const segments = [...expandEntry(entry)];
    expect(segments.map(({ offset, length }) => [offset, length])).toEqual(
      [1000, 1010, 1020].flatMap((at) => [
        [at, 2],
        [at + 2, 3],
        [at + 5, 1],
        [at + 6, 4],
      ]),
    );
    const payloadOffsets = segments.flatMap(({ content }) =>
      content.kind === 'payload' ? content.payloadOffset : [],
    );
    expect(payloadOffsets).toEqual([50, 53, 57, 60, 64, 67]);
    expect(payloadStride(entry.parts)).toBe(7);
  });

  test('changes nothing in the entry', () => {
    const before = structuredClone(entry);
    expect([...expandEntry(entry)]).toHaveLength(12);
    expect(entry).toEqual(before);
  });

  test('of a quarter of a million blocks is taken one segment at a time', () => {
    const huge: PlanEntry = { ...entry, count: Number.MAX_SAFE_INTEGER };
    const segments = expandEntries([huge]);
    expect(segments.next().value).toMatchObject({ offset: 1000, length: 2 });
    expect(segments.next().value).toMatchObject({ offset: 1002, length: 3 });
    expect(segments.return(undefined).done).toBe(true);
  });
});
