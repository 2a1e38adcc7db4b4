import { describe, expect, test } from 'vitest';
import { findObject } from '../../src/xenapi/find-object.js';

const RECORDS = {
  one: { uuid: 'abcd1111-0000-4000-8000-000000000000', name_label: 'First' },
  two: { uuid: 'abcd2222-0000-4000-8000-000000000000', name_label: 'Twin' },
  three: { uuid: '12345678-0000-4000-8000-000000000000', name_label: 'Twin' },
  // Called as another one's uuid begins, and as another one's whole uuid.
  four: { uuid: 'ffffffff-0000-4000-8000-000000000000', name_label: '1234' },
  five: { uuid: 'eeeeeeee-0000-4000-8000-000000000000', name_label: 'abcd1111-0000-4000-8000-000000000000' },
};

const find = (wanted: string): string => findObject('thing', RECORDS, wanted, 'list')[0];

describe('an object', () => {
  test.for([
    ['its uuid', 'abcd2222-0000-4000-8000-000000000000', 'two'],
    ['its uuid in capitals', 'ABCD2222-0000-4000-8000-000000000000', 'two'],
    ['its uuid, though another one has it as a name', 'abcd1111-0000-4000-8000-000000000000', 'one'],
    ['the start of its uuid', 'abcd2', 'two'],
    ['the start of its uuid, with a hyphen', '12345678-', 'three'],
    ['its name', 'First', 'one'],
  ])('is found by %s', ([, wanted, ref]) => {
    expect(find(wanted ?? '')).toBe(ref);
  });

  test.for([
    ['a start that two have', 'abcd'],
    ['a name that two have', 'Twin'],
    ['a name that is the start of another one', '1234'],
  ])('is not guessed from %s', ([, wanted]) => {
    expect(() => find(wanted ?? '')).toThrow(/more than one thing could be meant/);
  });

  test.for(['fff', '', 'first', 'nobody', '__proto__', 'toString', 'abcd2222-0000-4000-8000-0000000000000'])(
    'is not found by %j',
    (wanted) => {
      expect(() => find(wanted)).toThrow(/there is no thing/);
    },
  );
});
