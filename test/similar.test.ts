import { expect, test } from 'vitest';
import { similarName } from '../src/similar.js';

const NAMES = ['inspect', 'extract', 'verify', 'vhd', 'vhd-fixed', 'raw', 'Local storage', 'Local storage 2'];

// By hand: at most two slips (Damerau-Levenshtein), and no more than a third of the longer word.
test.for([
  ['inspct', 'inspect'],
  ['isnpect', 'inspect'],
  ['inspecct', 'inspect'],
  ['unspect', 'inspect'],
  ['vdh', 'vhd'],
  ['local Storage', 'Local storage'],
  ['Local storag', 'Local storage'],
  ['vhd-', 'vhd'],
  ['ver', 'verify'],
  ['ve', undefined],
  ['xyz', undefined],
  ['rwa', 'raw'],
  ['war', undefined],
  ['', undefined],
  ['Loc', undefined],
] as const)('%s: %s', ([wanted, name]) => {
  expect(similarName(wanted, NAMES)).toBe(name);
});

test('nonsense of any length is answered', () => {
  expect(similarName('x'.repeat(1_000_000), NAMES)).toBeUndefined();
  expect(similarName('inspct', ['i'.repeat(1_000_000), ''])).toBeUndefined();
  expect(similarName('inspct', [])).toBeUndefined();
});
