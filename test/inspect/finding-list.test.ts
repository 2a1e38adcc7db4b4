import { expect, test } from 'vitest';
import type { FindingCode } from '../../src/finding-codes.js';
import { FindingList } from '../../src/inspect/finding-list.js';

const finding = (code: FindingCode, offset: number) => ({
  code,
  severity: 'error' as const,
  structure: 'a structure',
  space: 'disk' as const,
  offset,
  found: 'this',
  expected: 'that',
});

test('each finding is kept once, in the order in which it was made', () => {
  const list = new FindingList();
  for (const offset of [3, 1, 3, 2, 1]) list.add(finding('inode-size', offset));
  expect(list.all.map(({ offset }) => offset)).toEqual([3, 1, 2]);
});

test('after twenty of one code the others are counted, and other codes still come in', () => {
  const list = new FindingList();
  for (let offset = 0; offset < 1000; offset += 1) list.add(finding('inode-size', offset));
  list.add(finding('inode-flags', 0));
  expect(list.all).toHaveLength(21);
  expect(list.omitted('inode-size')).toBe(980);
  expect(list.omitted('inode-flags')).toBe(0);
});
