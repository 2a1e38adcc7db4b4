/*
 * Plans carried out in the plainest way, judged by qemu-img against an image that was made without any plan; and the
 * order for outputs that can seek, which must end in the same bytes.
 */
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { mapImage, payloadRange, type TemplateFacts } from '../../src/plan/image-map.js';
import { announceRawPayload, planFixedVhd, planRaw } from '../../src/plan/plan-raw.js';
import { announceVhdPayload, planVhd } from '../../src/plan/plan-vhd.js';
import { emissionAfterPayload, type Plan } from '../../src/plan/plan.js';
import { expandEntries, type PlanEntry } from '../../src/plan/segment-list.js';
import { MIB } from '../../src/units.js';
import { convertToRaw, info, sameBytes } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { flipByte } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { BLOCK_BYTES, handMadeFacts, identity, layouts } from '../plan/layouts.js';
import { guestImage, materialise, writeFile, writeSegment, type Write } from '../plan/materialise.js';

describe('what the guest sees, by qemu-img', () => {
  beforeEach((context) => requireTool(context, 'qemu-img'));

  test('is the same through a raw image, a fixed and a dynamic VHD, for templates of any shape', () => {
    const folder = temporaryFolder();
    const path = (name: string): string => join(folder, name);
    fc.assert(
      fc.property(layouts, (facts) => {
        const wanted = guestImage(facts, path('wanted'));
        expect(sameBytes(materialise(planRaw(facts), path('raw')), wanted)).toBe(true);
        for (const plan of [planFixedVhd(facts, identity), planVhd(facts, identity)]) {
          const vhd = materialise(plan, path('vhd'));
          expect(info(vhd).virtualSize).toBe(facts.virtualSize);
          convertToRaw(vhd, path('converted'));
          expect(sameBytes(path('converted'), wanted)).toBe(true);
        }
      }),
      { numRuns: 4 },
    );
  });

  test('is another as soon as one byte of the payload is', () => {
    const folder = temporaryFolder();
    const facts = handMadeFacts(16 * MIB, 5 * MIB, 512);
    const wanted = guestImage(facts, join(folder, 'wanted'));
    const vhd = materialise(planVhd(facts, identity), join(folder, 'vhd'));
    flipByte(vhd, 3 * MIB);
    convertToRaw(vhd, join(folder, 'converted'));
    expect(sameBytes(join(folder, 'converted'), wanted)).toBe(false);
  });
});

describe('an output that can seek', () => {
  beforeEach((context) => requireTool(context, 'qemu-img'));

  /** Writes the payload where it was announced, until it ends; then the body; then the seal. */
  function inTheOrderOfTurns(plan: Plan, announced: readonly PlanEntry[], path: string): string {
    const { body, seal } = emissionAfterPayload(plan, announced);
    return writeFile(path, plan.outputLength, (write) => {
      writePayload(write, plan.payloadLength, announced);
      for (const segment of expandEntries([...body, ...seal])) writeSegment(write, segment);
    });
  }

  function writePayload(write: Write, payloadLength: number, announced: readonly PlanEntry[]): void {
    for (const { offset, length, content } of expandEntries(announced)) {
      if (content.kind !== 'payload') {
        writeSegment(write, { offset, length, content });
        continue;
      }
      const left = payloadLength - content.payloadOffset;
      if (left > 0) writeSegment(write, { offset, length: Math.min(left, length), content });
      // The payload has ended: nothing behind it is written.
      if (left <= length) return;
    }
  }

  const payloadOf = (facts: TemplateFacts) =>
    mapImage(facts).filter(({ payloadOffset }) => payloadOffset !== undefined);

  test('gets the bytes of the plan, when the payload was announced with its length', () => {
    const folder = temporaryFolder();
    fc.assert(
      fc.property(layouts, (facts) => {
        const payload = payloadOf(facts);
        const cases = [
          [planRaw(facts), announceRawPayload(payload)],
          [planFixedVhd(facts, identity), announceRawPayload(payload)],
          [planVhd(facts, identity), announceVhdPayload(facts.virtualSize, payload)],
        ] as const;
        for (const [plan, announced] of cases) {
          const wanted = materialise(plan, join(folder, 'wanted'));
          expect(sameBytes(inTheOrderOfTurns(plan, announced, join(folder, 'found')), wanted)).toBe(true);
        }
      }),
      { numRuns: 4 },
    );
  });

  test('gets them also when the payload ends earlier than it might have', () => {
    const folder = temporaryFolder();
    const start = 2 * MIB;
    const capacity = 12 * MIB;
    const lengths = fc.oneof(
      fc.integer({ min: 1, max: capacity }),
      fc.constantFrom(1, BLOCK_BYTES, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 10 * MIB, capacity),
    );
    fc.assert(
      fc.property(lengths, (payloadLength) => {
        const facts = handMadeFacts(16 * MIB, payloadLength, start / BLOCK_BYTES);
        const payload = [payloadRange(start, capacity, 0)];
        const cases = [
          [planRaw(facts), announceRawPayload(payload)],
          [planVhd(facts, identity), announceVhdPayload(facts.virtualSize, payload)],
        ] as const;
        for (const [plan, announced] of cases) {
          const wanted = materialise(plan, join(folder, 'wanted'));
          expect(sameBytes(inTheOrderOfTurns(plan, announced, join(folder, 'found')), wanted)).toBe(true);
        }
      }),
      { numRuns: 8 },
    );
  });
});
