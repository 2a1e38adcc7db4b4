import { describe, expect, test } from 'vitest';
import {
  DEFAULT_LEFT_BEHIND,
  PatchVdiError,
  invariant,
  isPatchVdiError,
  systemErrorCode,
  type ErrorKind,
} from '../src/errors.js';

/** The table "Errors" of the design, and `interrupted`; a pool is not there yet. */
const KINDS: readonly ErrorKind[] = [
  'usage',
  'signature',
  'upload',
  'space',
  'image',
  'tool',
  'sink',
  'interrupted',
];

/** Kinds after which the design says "nothing touched". */
const UNTOUCHED: readonly ErrorKind[] = ['usage', 'image'];

test('every kind says what is left behind, and there is no kind beside these', () => {
  expect(Object.keys(DEFAULT_LEFT_BEHIND).sort()).toEqual([...KINDS].sort());
});

describe.each(KINDS)('an error of kind %s', (kind) => {
  test('has a code made of the kind, and the answer of the kind', () => {
    const error = new PatchVdiError(kind, 'something went wrong');
    expect(error.code).toBe(`PATCH_VDI_${kind.toUpperCase()}`);
    expect(error.leftBehind).toBe(
      UNTOUCHED.includes(kind) ? 'nothing was touched' : 'nothing under the final name, nothing mountable',
    );
    expect(error).toMatchObject({ name: 'PatchVdiError', kind, context: {}, hint: undefined });
    expect('cause' in error).toBe(false);
  });
});

test('an error keeps its context, its hint, its cause and its own answer', () => {
  const cause = new Error('ENOSPC');
  const context = { operation: 'write', path: 'a.vhd', offset: 7, found: 'a full disk', expected: 'room' };
  const details = { context, hint: 'make room', leftBehind: 'half a file', cause };
  const error = new PatchVdiError('space', 'there is no room', details);
  expect(error).toMatchObject({ message: 'there is no room', ...details });
  expect(JSON.parse(JSON.stringify(error.context))).toEqual(context);
});

describe('isPatchVdiError', () => {
  test('knows ours, also from another copy of this package', () => {
    class Twin extends Error {
      override readonly name = 'PatchVdiError';
      readonly kind = 'usage';
    }
    expect(isPatchVdiError(new PatchVdiError('usage', 'no'))).toBe(true);
    expect(isPatchVdiError(new Twin())).toBe(true);
  });

  test.each([new Error('kind'), { name: 'PatchVdiError', kind: 'usage' }, null, undefined, 'PatchVdiError'])(
    'does not take %s for one',
    (other) => {
      expect(isPatchVdiError(other)).toBe(false);
    },
  );
});

describe('systemErrorCode', () => {
  test('finds the code of a system error and nothing else', () => {
    expect(systemErrorCode(Object.assign(new Error('full'), { code: 'ENOSPC' }))).toBe('ENOSPC');
    expect(systemErrorCode(Object.assign(new Error('odd'), { code: 28 }))).toBeUndefined();
    expect(systemErrorCode(new Error('plain'))).toBeUndefined();
    expect(systemErrorCode({ code: 'ENOSPC' })).toBeUndefined();
  });
});

describe('invariant', () => {
  test('lets pass what holds, and calls the rest a defect of ours, not an error of the user', () => {
    expect(() => invariant(true, 'one is one')).not.toThrow();
    let thrown: unknown;
    try {
      invariant(false, 'one is two');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ message: 'patch-vdi has a defect: it must hold that one is two' });
    expect(isPatchVdiError(thrown)).toBe(false);
  });
});
