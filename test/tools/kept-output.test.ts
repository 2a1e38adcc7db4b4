import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeptOutput } from '../../src/tools/kept-output.js';

function keep(first: number, last: number, parts: readonly string[]): KeptOutput {
  const output = new KeptOutput({ first, last });
  for (const part of parts) output.take(Buffer.from(part));
  return output;
}

test('what fits is kept as it is', () => {
  expect(keep(4, 4, ['ab', 'cdef', 'gh']).text()).toBe('abcdefgh');
  expect(keep(4, 4, []).text()).toBe('');
  expect(keep(4, 4, ['abcdefgh']).droppedBytes).toBe(0);
});

test('of more, the beginning and the end', () => {
  expect(keep(4, 4, ['abcdefghi']).text()).toBe('abcd\n[1 bytes left out]\nfghi');
  expect(keep(2, 3, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']).text()).toBe('ab\n[3 bytes left out]\nfgh');
  expect(keep(2, 0, ['abc']).text()).toBe('ab\n[1 bytes left out]\n');
});

test('however it comes, it is the same, and no more is held than twice the limit', () => {
  const parts = fc.array(fc.string({ unit: 'grapheme-ascii', maxLength: 12 }), { maxLength: 30 });
  fc.assert(
    fc.property(parts, fc.nat(10), fc.nat(10), (texts, first, last) => {
      const whole = texts.join('');
      const expected =
        whole.length <= first + last
          ? whole
          : `${whole.slice(0, first)}\n[${whole.length - first - last} bytes left out]\n${whole.slice(whole.length - last)}`;
      const output = keep(first, last, texts);
      expect(output.text()).toBe(expected);
      expect(output.droppedBytes).toBe(Math.max(0, whole.length - first - last));
    }),
  );
});
