import { describe, expect, test } from 'vitest';
import { mapImage, payloadRange } from '../../src/plan/image-map.js';
import { announceRawPayload, planFixedVhd, planRaw } from '../../src/plan/plan-raw.js';
import { announceVhdPayload, planVhd } from '../../src/plan/plan-vhd.js';
import {
  emissionAfterPayload,
  emissionForStream,
  streamsInOnePass,
  type Emission,
  type Plan,
} from '../../src/plan/plan.js';
import { expandEntries, type PlanEntry } from '../../src/plan/segment-list.js';
import { GIB, MIB } from '../../src/units.js';
import { handMadeFacts, identity } from './layouts.js';

const PAYLOAD_START = 2 * MIB;
const facts = handMadeFacts(16 * MIB, 3 * MIB + 5, PAYLOAD_START / 4096);
const raw = planRaw(facts);
const fixed = planFixedVhd(facts, identity);
const dynamic = planVhd(facts, identity);

const names = (entries: readonly PlanEntry[]): string[] =>
  [...expandEntries(entries)].map(({ name }) => name);
const kinds = (entries: readonly PlanEntry[]): Set<string> =>
  new Set([...expandEntries(entries)].map(({ content }) => content.kind));

describe('the order for a stream', () => {
  test.each([
    ['raw', raw],
    ['a fixed VHD', fixed],
    ['a dynamic VHD', dynamic],
  ])('%s: place by place, cut once, before the first entry of the seal', (_name, plan) => {
    const { body, seal } = emissionForStream(plan);
    expect([...body, ...seal]).toEqual(plan.entries);
    expect(body.some(({ turn }) => turn === 'seal')).toBe(false);
    expect(seal[0]?.turn).toBe('seal');
  });

  test('a raw image and a fixed VHD begin with the superblock, so everything waits for the verdict', () => {
    for (const plan of [raw, fixed]) {
      expect(emissionForStream(plan).body).toEqual([]);
      expect(streamsInOnePass(plan)).toBe(false);
    }
  });

  test('a dynamic VHD holds back virtual block 0 and the trailing footer, and lets the payload through', () => {
    const { body, seal } = emissionForStream(dynamic);
    expect(names(body)).toContain('patch');
    expect(names(body)).not.toContain('superblock');
    expect(names(seal)).toContain('superblock');
    expect(names(seal).at(-1)).toBe('footer');
    expect(kinds(seal).has('payload')).toBe(false);
    expect(streamsInOnePass(dynamic)).toBe(true);
  });
});

describe('the order for an output that can seek, after the payload', () => {
  const sealNames = ({ seal }: Emission): Set<string> => new Set(names(seal));
  const rawAnnounced = announceRawPayload([payloadRange(PAYLOAD_START, 3 * MIB + 5, 0)]);

  test('the payload does not come again, and the superblock comes last', () => {
    const emission = emissionAfterPayload(raw, rawAnnounced);
    expect(kinds(emission.body).has('payload')).toBe(false);
    expect(sealNames(emission)).toEqual(new Set(['superblock']));
    expect(names(emission.body)).toContain('inode tables');
  });

  test('the seal of a fixed VHD has its footer, too', () => {
    expect(sealNames(emissionAfterPayload(fixed, rawAnnounced))).toEqual(new Set(['superblock', 'footer']));
  });

  test('the very last write of all is the superblock, in every format', () => {
    const vhdAnnounced = announceVhdPayload(16 * MIB, [payloadRange(PAYLOAD_START, 3 * MIB + 5, 0)]);
    for (const [plan, announced] of [
      [raw, rawAnnounced],
      [fixed, rawAnnounced],
      [dynamic, vhdAnnounced],
    ] as const) {
      expect(names(emissionAfterPayload(plan, announced).seal).at(-1)).toBe('superblock');
    }
  });

  test('a shorter payload than announced gets the bitmap of its last block again', () => {
    const announced = announceVhdPayload(16 * MIB, [payloadRange(PAYLOAD_START, 12 * MIB, 0)]);
    const emission = emissionAfterPayload(dynamic, announced);
    const corrections = emission.body.filter(({ turn }) => turn === 'payload');
    expect(names(corrections)).toEqual(['alignment', 'sector bitmap', 'zeros']);
    expect(emission.seal.every(({ turn }) => turn === 'seal')).toBe(true);
  });

  test('payload that stands elsewhere than announced is a defect', () => {
    const elsewhere = announceRawPayload([payloadRange(PAYLOAD_START + 4096, 4 * MIB, 0)]);
    expect(() => emissionAfterPayload(raw, elsewhere)).toThrow(/where it was announced/);
  });
});

test('a plan without a seal would hold nothing back', () => {
  const noSeal: Plan = { ...raw, entries: raw.entries.filter(({ turn }) => turn !== 'seal') };
  expect(emissionForStream(noSeal).seal).toEqual([]);
});

test('a VHD ends at 2040 GiB: one step more is an error of kind space that names raw', () => {
  const tooLarge = handMadeFacts(2040 * GIB + 2 * MIB, 5, 512);
  for (const plan of [planVhd, planFixedVhd]) {
    expect(() => plan(tooLarge, identity)).toThrow(
      expect.objectContaining({ kind: 'space', hint: expect.stringContaining('raw') as unknown }) as Error,
    );
  }
  expect(mapImage(tooLarge).length).toBeGreaterThan(1);
});
