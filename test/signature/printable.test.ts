import { describe, expect, it } from 'vitest';
import { hexBytes, printable } from '../../src/signature/printable.js';

describe('printable', () => {
  it.each([
    ['plain text, Zoë 東京 🙂', 'plain text, Zoë 東京 🙂'],
    ['a\u001b[31mb\u0007', 'a\\x1b[31mb\\x07'],
    ['line\r\nline\t', 'line\\x0d\\x0aline\\x09'],
    ['\u009b31m', '\\x9b31m'],
    ['\u202egpj.exe\u200b', '\\u{202e}gpj.exe\\u{200b}'],
    ['\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['\ud800', '\\u{d800}'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\\x1b', '\\\\x1b'],
  ])('%j', (text, expected) => {
    expect(printable(text)).toBe(expected);
  });

  it('cuts off what is too long', () => {
    expect(printable('abcdef', 3)).toBe('abc…');
  });
});

it('hexBytes shows 16 at most', () => {
  expect(hexBytes(Buffer.from('PK'))).toBe('50 4b');
  expect(hexBytes(Buffer.alloc(100))).toHaveLength(16 * 3 - 1);
});
