import fc from 'fast-check';
import { DateTime, Int32, isRpcArray, isRpcStruct, type RpcValue } from '../../src/server/rpc-value.js';
import type { PythonValue } from './python.js';

/** Texts with everything that hurts: markup, white space, what XML cannot hold, half pairs. */
const anyText = fc.oneof(
  fc.string({
    unit: fc.constantFrom(
      ...'aZ09 &<>"\'\t\n\r]é漢\u2028;#\0\u0001\u{FFFE}\u{FFFF}'.split(''),
      '😀',
      '\uD800',
      '\uDC00',
    ),
    maxLength: 20,
  }),
  fc.constantFrom('', ' ', '\n', '__proto__', ']]>', '<![CDATA[x]]>', '&amp;', '&#65;'),
);

const time = fc
  .date({ min: new Date(0), max: new Date('2099-12-31'), noInvalidDate: true })
  .map((date) => new DateTime(`${date.toISOString().replaceAll(/[-]|\.\d+/g, '')}`));

const leaf: fc.Arbitrary<RpcValue> = fc.oneof(
  anyText,
  fc.boolean(),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.integer().map((value) => new Int32(value)),
  time,
);

export const anyValue: fc.Arbitrary<RpcValue> = fc.letrec<{ value: RpcValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(anyText, tie('value'), { maxKeys: 4 }),
  ),
})).value;

/** By hand, from the specification of XML 1.0, section 2.2: what our encoder puts U+FFFD for. */
function xmlText(text: string): string {
  return Array.from(text)
    .map((character) => {
      const code = character.codePointAt(0) ?? 0;
      const good =
        [0x9, 0xa, 0xd].includes(code) ||
        (code >= 0x20 && code <= 0xd7ff) ||
        (code >= 0xe000 && code <= 0xfffd) ||
        code >= 0x10000;
      return good ? character : '\uFFFD';
    })
    .join('');
}

/** A double in python's `repr` is not ours: both are read as numbers. */
export function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== 'object' || value === null) return value;
  if ('double' in value) return { double: Number(value.double) };
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, normal(member)]));
}

/** What python must see of a value that came as XML. Members with the same name after the replacement: the last. */
export function seenInXml(value: RpcValue): PythonValue {
  if (typeof value === 'string') return xmlText(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return { bool: value };
  if (typeof value === 'number') return { double: String(value) };
  if (value instanceof Int32) return { i4: value.value };
  if (value instanceof DateTime) return { time: value.text };
  if (isRpcArray(value)) return value.map(seenInXml);
  if (!isRpcStruct(value)) throw new Error('no other values');
  const members = new Map(Object.entries(value).map(([key, member]) => [xmlText(key), seenInXml(member)]));
  return { struct: [...members] };
}

/** What python must see of a value that came as JSON. */
export function seenInJson(value: RpcValue): PythonValue | { readonly integer: string } {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint') return { i4: Number(value) };
  if (typeof value === 'boolean') return { bool: value };
  if (typeof value === 'number') return { double: String(value) };
  if (value instanceof Int32) return { i4: value.value };
  if (value instanceof DateTime) return value.text;
  if (isRpcArray(value)) return value.map(seenInJson) as PythonValue;
  if (!isRpcStruct(value)) throw new Error('no other values');
  const members = Object.entries(value).map(([key, member]) => [key, seenInJson(member)] as const);
  return { struct: members as (readonly [string, PythonValue])[] };
}
