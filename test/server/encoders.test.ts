import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { parseStrictXml } from '../../src/strict-xml.js';
import { DateTime, Int32, type RpcValue } from '../../src/server/rpc-value.js';
import { encodeJson } from '../../src/server/rpc/json-value.js';
import { decodeMethodCall } from '../../src/server/rpc/xml-decode.js';
import { encodeDouble, encodeXmlValue } from '../../src/server/rpc/xml-encode.js';
import { requireTool } from '../oracles/require-tool.js';
import { PYTHON, pythonReads, pythonReadsJson, pythonWrites, type PythonValue } from './python.js';
import { anyValue, normal, seenInJson, seenInXml } from './rpc-arbitrary.js';

beforeEach((context) => requireTool(context, PYTHON));

const SEED = 6;
const LIMITS = { maxCharacters: 1_000_000, maxDepth: 64, maxTags: 100_000 };

function samples(count: number): RpcValue[] {
  return fc.sample(anyValue, { numRuns: count, seed: SEED });
}

const inResponse = (value: RpcValue): string =>
  `<?xml version="1.0"?><methodResponse><params><param>${encodeXmlValue(value)}</param></params></methodResponse>`;

test('python reads out of our XML what we put in', () => {
  const values = samples(400);
  const read = pythonReads(values.map(inResponse));
  expect(read.map(normal)).toEqual(values.map((value) => normal(seenInXml(value))));
});

test('sabotage: python sees an encoder that forgets to escape, and one that drops an end', () => {
  const good = inResponse({ 'a&b': ['<x>'] });
  const [unescaped, open, whole] = pythonReads([
    good.replace('&lt;x&gt;', '<x>'),
    good.replace('</data>', ''),
    good,
  ]);
  expect([unescaped, open]).toEqual([{ error: expect.any(String) as string }, { error: 'ExpatError' }]);
  expect(whole).toEqual({ struct: [['a&b', ['<x>']]] });
});

test('we read out of the XML of python what it put in', () => {
  // Python writes a character that XML does not have as it is: nobody can read that.
  const values = samples(400).map(seenInXml);
  const read = pythonWrites('x.y', values).map((text) => {
    const { method, parameters } = decodeMethodCall(parseStrictXml(text, LIMITS));
    expect(method).toBe('x.y');
    return parameters.map(fromOurs);
  });
  // A carriage return that python does not escape is a line feed to every reader (XML 1.0, section 2.11).
  const asRead = (value: unknown): unknown =>
    JSON.parse(
      JSON.stringify(normal(value))
        .replaceAll(String.raw`\r\n`, String.raw`\n`)
        .replaceAll(String.raw`\r`, String.raw`\n`),
    );
  expect(read.map(asRead)).toEqual(values.map((value) => asRead([value])));
});

/** A value that was read, as python would show it: its integers are ours as bigint. */
function fromOurs(value: RpcValue): PythonValue {
  if (typeof value === 'bigint') return { i4: Number(value) };
  if (Array.isArray(value)) return (value as readonly RpcValue[]).map(fromOurs);
  if (typeof value !== 'object' || value instanceof DateTime || value instanceof Int32)
    return seenInXml(value);
  return {
    struct: Object.entries(value as object).map(([key, member]) => [key, fromOurs(member as RpcValue)]),
  };
}

test('python reads out of our JSON what we put in, and sees what is spoilt', () => {
  const values = samples(400);
  const read = pythonReadsJson(values.map(encodeJson));
  expect(read.map(numbersAlike)).toEqual(values.map((value) => numbersAlike(seenInJson(value))));
  expect(pythonReadsJson([`${encodeJson({ a: 1n })},`])).toEqual([{ error: 'JSONDecodeError' }]);
});

/** JSON has one kind of number; 1.0 may be written as 1, and of beyond 2^53 JavaScript knows only the neighbourhood. */
function numbersAlike(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(numbersAlike);
  if (typeof value !== 'object' || value === null) return value;
  if ('double' in value || 'i4' in value) {
    return { number: Number('double' in value ? value.double : value.i4) + 0 };
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, numbersAlike(member)]));
}

/** By hand. XML-RPC specification: digits, a point, digits; no exponent. */
const DOUBLES: readonly (readonly [number, string])[] = [
  [0, '0.0'],
  [1, '1.0'],
  [-2.5, '-2.5'],
  [0.01, '0.01'],
  [1e-7, '0.0000001'],
  [-1.5e-9, '-0.0000000015'],
  [1e21, '1000000000000000000000.0'],
  [1.25e22, '12500000000000000000000.0'],
];

test('doubles have no exponent', () => {
  expect(DOUBLES.map(([value]) => encodeDouble(value))).toEqual(DOUBLES.map(([, text]) => text));
  fc.assert(
    fc.property(fc.double({ noDefaultInfinity: true, noNaN: true }), (value) => {
      const text = encodeDouble(value);
      expect(text).toMatch(/^-?\d+\.\d+$/);
      expect(Number(text)).toBe(value + 0);
    }),
  );
});

test('64-bit integers keep all their digits, as text in XML and as digits in JSON', () => {
  const value = 2n ** 63n - 1n;
  expect(encodeXmlValue(value)).toBe('<value>9223372036854775807</value>');
  expect(encodeJson(value)).toBe('9223372036854775807');
});
