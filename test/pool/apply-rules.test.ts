import { describe, expect, test } from 'vitest';
import {
  applyError,
  chooseCopySr,
  halfAppliedError,
  resultOutput,
  type CopyTarget,
} from '../../src/pool/apply-rules.js';
import { encodeXmlValue } from '../../src/server/rpc/xml-encode.js';
import { MIB } from '../../src/units.js';

const target = (ref: string, more: Partial<CopyTarget> = {}): CopyTarget => ({
  ref,
  uuid: `uuid-${ref}`,
  hostCanReach: true,
  shared: false,
  capabilities: new Set(),
  freeBytes: 100 * MIB,
  ...more,
});
const CLONES = { capabilities: new Set(['VDI_CLONE']) };
const SHARED = { shared: true };

const choose = (targets: readonly CopyTarget[]): unknown => {
  try {
    return chooseCopySr({ host: 'host', targets, sourceSr: 'source', virtualSize: 64 * MIB });
  } catch (error) {
    return (error as { description?: unknown }).description;
  }
};

describe('the SR of a copy', () => {
  test.for<[string, readonly CopyTarget[], unknown]>([
    [
      'where the patch is, when that clones',
      [target('big', { freeBytes: 900 * MIB }), target('source', { ...CLONES, ...SHARED })],
      { sr: 'source', clone: true },
    ],
    [
      'its own with most room, when that does not',
      [
        target('small'),
        target('source', { ...SHARED, freeBytes: 900 * MIB }),
        target('big', { freeBytes: 200 * MIB }),
      ],
      { sr: 'big', clone: false },
    ],
    [
      'where the patch is by a copy, when there is nothing else',
      [target('source')],
      { sr: 'source', clone: false },
    ],
    [
      'a shared one when its own are full',
      [target('full', { freeBytes: 1 }), target('shared', SHARED)],
      { sr: 'shared', clone: false },
    ],
    [
      'another one when that of the patch is full',
      [target('source', { ...CLONES, freeBytes: 63 * MIB }), target('own')],
      { sr: 'own', clone: false },
    ],
    [
      'exactly enough room is enough',
      [target('source', { ...CLONES, freeBytes: 64 * MIB })],
      { sr: 'source', clone: true },
    ],
    [
      'no room anywhere',
      [target('source', { ...CLONES, freeBytes: 1 }), target('roomiest', { freeBytes: 63 * MIB })],
      ['OUT_OF_SPACE', 'uuid-roomiest'],
    ],
    [
      'out of reach',
      [target('source', { ...CLONES, hostCanReach: false })],
      ['HOST_HAS_NO_PATCH_SR', 'host'],
    ],
    ['none at all', [], ['HOST_HAS_NO_PATCH_SR', 'host']],
  ])('%s', ([, targets, expected]) => {
    expect(choose(targets)).toEqual(expected);
  });
});

describe('output', () => {
  test('is kept as it is while it is short', () => {
    expect(resultOutput('a\nb\n')).toBe('a\nb\n');
  });

  test('of any length fits a result that clients take, whatever has to be escaped', () => {
    const text = resultOutput(`begin${'"'.repeat(1_000_000)}end`);
    expect(text.startsWith('begin')).toBe(true);
    expect(text.endsWith('end')).toBe(true);
    expect(text).toMatch(/\[… \d+ characters are left out …\]/);
    expect(encodeXmlValue(text).length).toBeLessThanOrEqual(65_536);
  });

  test('of a failure keeps its end, and how it ended', () => {
    const { description } = applyError(`begin${'x'.repeat(100_000)}the reason\n`, {
      kind: 'exit',
      exitCode: 3,
    });
    expect(description[0]).toBe('PATCH_APPLY_FAILED');
    expect(description[1]).toMatch(/^begin[^]*the reason\nexit code 3$/);
    expect(applyError('', { kind: 'lost', words: 'w'.repeat(10_000) }).parameters[0]).toHaveLength(512);
  });

  test('the words about a killed apply fit a line of our client', () => {
    const key = 'apply-again-11111111-1111-4111-8111-111111111111';
    const { parameters } = halfAppliedError('2026-11-22T03:18:14.000Z', key);
    expect(parameters[0]?.length).toBeLessThanOrEqual(400);
    expect(parameters[0]).toContain(key);
  });
});
