import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseStrictXml } from '../../src/strict-xml.js';
import { decodeMethodCall } from '../../src/server/rpc/xml-decode.js';
import { DateTime } from '../../src/server/rpc-value.js';
import { answerXmlRpc } from '../../src/server/xml-rpc.js';
import { requireTool } from '../oracles/require-tool.js';
import { python, PYTHON, pythonReads } from './python.js';
import { rpcClient, testApi } from './test-api.js';

const LIMITS = { maxCharacters: 1 << 20, maxDepth: 32, maxTags: 20_000 };
const read = (text: string): ReturnType<typeof decodeMethodCall> =>
  decodeMethodCall(parseStrictXml(text, LIMITS));

const call = (content: string, method = 'a.b'): string =>
  `<methodCall><methodName>${method}</methodName><params><param>${content}</param></params></methodCall>`;

test('the example of the specification', () => {
  const example = `<?xml version="1.0"?>
<methodCall>
   <methodName>examples.getStateName</methodName>
   <params>
      <param>
         <value><i4>41</i4></value>
         </param>
      </params>
   </methodCall>
`;
  expect(read(example)).toEqual({ method: 'examples.getStateName', parameters: [41n] });
  expect(read('<methodCall><methodName>x</methodName></methodCall>').parameters).toEqual([]);
  expect(read('<methodCall><methodName>x</methodName><params/></methodCall>').parameters).toEqual([]);
});

/** By hand, from the specification: what stands in `value`, and what it is. */
const VALUES: readonly (readonly [string, unknown])[] = [
  ['hello world', 'hello world'],
  ['', ''],
  ['  two  ', '  two  '],
  ['<string>South Dakota</string>', 'South Dakota'],
  ['<string> a\n\tb </string>', ' a\n\tb '],
  ['<string/>', ''],
  ['<string>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F600;&#13;</string>', '<&>"\'A😀\r'],
  ['<string><![CDATA[<a>&amp;<!-- ]]>b<![CDATA[<!D]]></string>', '<a>&amp;<!-- b<!D'],
  ['<string>a > b</string>', 'a > b'],
  ['\n <int>-12</int> ', -12n],
  ['<i4>+7</i4>', 7n],
  ['<i8>9223372036854775807</i8>', 9223372036854775807n],
  ['<boolean>1</boolean>', true],
  ['<boolean>0</boolean>', false],
  ['<double>-12.214</double>', -12.214],
  ['<double>60.1</double>', 60.1],
  ['<double>1e3</double>', 1000],
  ['<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>', new DateTime('19980717T14:08:55')],
  ['<array><data><value><i4>12</i4></value><value>Egypt</value></data></array>', [12n, 'Egypt']],
  ['<array> <data/> </array>', []],
  [
    '<struct><member><name>lowerBound</name><value><i4>18</i4></value></member></struct>',
    { lowerBound: 18n },
  ],
  ['<struct/>', {}],
  ['<struct><member><name>a b&amp;</name><value/></member></struct>', { 'a b&': '' }],
];

test.for(VALUES)('a value: %s', ([content, expected]) => {
  expect(read(call(`<value>${content}</value>`)).parameters).toEqual([expected]);
});

const nested = (depth: number): string =>
  '<value><array><data>'.repeat(depth) + '</data></array></value>'.repeat(depth);

/** Named by the reason, with the code of the fault: not well formed, or no call. */
const REFUSED: Readonly<Record<string, readonly [string, number]>> = {
  nothing: ['', -32700],
  'no XML': ['GET / HTTP/1.1', -32700],
  JSON: ['{"method": "x"}', -32700],
  cut: [call('<value>x</value>').slice(0, -3), -32700],
  'crossing elements': [call('<value><string>x</value></string>'), -32700],
  'a document type': [`<!DOCTYPE methodCall>${call('<value>x</value>')}`, -32700],
  'a document type in lower case': [`<!doctype methodCall>${call('<value>x</value>')}`, -32700],
  'entities that grow': [
    `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>${call('<value>&b;</value>')}`,
    -32700,
  ],
  'a file as an entity': [
    `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>${call('<value>&a;</value>')}`,
    -32700,
  ],
  'an entity that nobody declared': [call('<value>&nbsp;</value>'), -32700],
  'an ampersand': [call('<value>a & b</value>'), -32700],
  'a NUL': [call('<value>\0</value>'), -32700],
  'a reference to NUL': [call('<value>&#0;</value>'), -32700],
  'a comment': [call('<value>a<!-- x -->b</value>'), -32700],
  'an instruction': [call('<value>a<?php x?>b</value>'), -32700],
  'a marked section': [call('<value><![INCLUDE[x]]></value>'), -32700],
  'a section without an end': [call('<value><![CDATA[x</value>'), -32700],
  'the end of a section': [call('<value>]]></value>'), -32700],
  'another encoding': [`<?xml version="1.0" encoding="UTF-16"?>${call('<value>x</value>')}`, -32700],
  'XML 1.1': [`<?xml version="1.1"?>${call('<value>x</value>')}`, -32700],
  'two calls': [call('<value>x</value>').repeat(2), -32700],
  'text behind it': [`${call('<value>x</value>')}x`, -32700],
  'text in front': [`x${call('<value>x</value>')}`, -32700],
  'an end that nothing began': [`${call('<value>x</value>')}</document><document>`, -32700],
  'deep arrays': [call(nested(2000)), -32700],
  'rather deep arrays': [call(nested(12)), -32700],
  'a hundred thousand elements': [
    call(`<value><array><data>${'<value/>'.repeat(100_000)}</data></array></value>`),
    -32700,
  ],
  'more than a MiB': [call(`<value>${'x'.repeat(1 << 20)}</value>`), -32700],
  'a long name': [`<${'a'.repeat(100_000)}/>`, -32700],
  'a response': ['<methodResponse><params/></methodResponse>', -32600],
  'another case': [call('<value>x</value>').replaceAll('methodCall', 'MethodCall'), -32600],
  'no name': ['<methodCall><params/></methodCall>', -32600],
  'an empty name': [call('<value>x</value>', ''), -32600],
  'a name with a space': [call('<value>x</value>', 'a b'), -32600],
  'two names': ['<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>', -32600],
  'elements in the name': ['<methodCall><methodName><b>a</b></methodName></methodCall>', -32600],
  'an attribute': [call('<value type="int">1</value>'), -32600],
  'an attribute of a prototype': [call('<value __proto__="x">1</value>'), -32600],
  'no value': [call(''), -32600],
  'two values': [call('<value/><value/>'), -32600],
  'two types': [call('<value><int>1</int><int>2</int></value>'), -32600],
  'text beside a type': [call('<value>a<int>1</int></value>'), -32600],
  'an unknown type': [call('<value><int32>1</int32></value>'), -32600],
  'a type that objects have': [call('<value><toString>1</toString></value>'), -32600],
  'a type that the package itself refuses': [call('<value><constructor>1</constructor></value>'), -32700],
  'nil, which the XenAPI does not know': [call('<value><nil/></value>'), -32600],
  'bytes, which the XenAPI does not know': [call('<value><base64>AAAA</base64></value>'), -32600],
  'no integer': [call('<value><int>1.5</int></value>'), -32600],
  'a huge integer': [call(`<value><int>${'9'.repeat(100)}</int></value>`), -32600],
  hexadecimal: [call('<value><int>0x10</int></value>'), -32600],
  'no boolean': [call('<value><boolean>true</boolean></value>'), -32600],
  infinity: [call('<value><double>Infinity</double></value>'), -32600],
  'a huge double': [call('<value><double>1e999</double></value>'), -32600],
  'no time': [call('<value><dateTime.iso8601>now</dateTime.iso8601></value>'), -32600],
  'an array without data': [call('<value><array><value/></array></value>'), -32600],
  'text in an array': [call('<value><array><data>x<value/></data></array></value>'), -32600],
  'a member without a name': [call('<value><struct><member><value/></member></struct></value>'), -32600],
  'a member twice': [
    call(`<value><struct>${'<member><name>a</name><value/></member>'.repeat(2)}</struct></value>`),
    -32600,
  ],
};

test('what is no call is a fault', async (context) => {
  requireTool(context, PYTHON);
  const { api } = await testApi();
  const answers: string[] = [];
  for (const [body] of Object.values(REFUSED)) {
    answers.push(await answerXmlRpc(api, Buffer.from(body), rpcClient()));
  }
  // The judge raises what it takes for a fault.
  const faults = python(
    `
def fault(text):
    try: return ['no fault', str(x.loads(text))]
    except x.Fault as e: return [e.faultCode, e.faultString]
answer = [fault(text) for text in given]`,
    answers,
  ) as [number, string][];
  const names = Object.keys(REFUSED);
  expect(faults.map(([code], at) => [names[at], code])).toEqual(
    Object.entries(REFUSED).map(([name, [, code]]) => [name, code]),
  );
  for (const [, text] of faults) expect(text.length).toBeLessThan(300);
});

test('bytes that are no UTF-8 are a fault', async () => {
  const { api } = await testApi();
  const [before, after] = call('<value>x</value>').split('x');
  const body = Buffer.concat([Buffer.from(before ?? ''), Buffer.from([0xff]), Buffer.from(after ?? '')]);
  expect(await answerXmlRpc(api, body, rpcClient())).toContain('not UTF-8');
});

test('Status and Value, or ErrorDescription; only system.listMethods stands bare', async (context) => {
  requireTool(context, PYTHON);
  const { api, login, pool } = await testApi();
  const session = await login('reader');
  const ask = (method: string, ref = session): Promise<string> =>
    answerXmlRpc(api, Buffer.from(call(`<value>${ref}</value>`, method)), rpcClient());
  expect(pythonReads([await ask('pool.get_all'), await ask('pool.get_all', 'OpaqueRef:x')])).toEqual([
    {
      struct: [
        ['Status', 'Success'],
        ['Value', [pool.pool]],
      ],
    },
    {
      struct: [
        ['Status', 'Failure'],
        ['ErrorDescription', ['SESSION_INVALID', 'OpaqueRef:x']],
      ],
    },
  ]);
  expect(pythonReads([await ask('system.listMethods')])).toEqual([
    expect.arrayContaining(['VDI.copy', 'event.from']),
  ]);
});

test('what XML cannot hold comes out as U+FFFD, and the answer stays one', async (context) => {
  requireTool(context, PYTHON);
  const { api, login, pool, call: ask } = await testApi();
  const session = await login();
  await ask('pool.set_name_label', session, pool.pool, 'a\0b\u{1B}c\uD800d\r\ne');
  const body = call(
    `<value>${session}</value></param><param><value>${pool.pool}</value>`,
    'pool.get_name_label',
  );
  expect(pythonReads([await answerXmlRpc(api, Buffer.from(body), rpcClient())])).toEqual([
    {
      struct: [
        ['Status', 'Success'],
        ['Value', 'a\uFFFDb\uFFFDc\uFFFDd\r\ne'],
      ],
    },
  ]);
});

test('random damage: what we take, python takes too and reads the same; sabotage: it sees a difference', (context) => {
  requireTool(context, PYTHON);
  const document = `<?xml version="1.0"?><methodCall><methodName>a.b</methodName><params><param><value><string>a &amp; b</string></value></param><param><value><array><data><value><i4>12</i4></value><value xmlns:e='u'>x</value></data></array></value></param></params></methodCall>`;
  const damage = fc.tuple(fc.nat(document.length - 1), fc.constantFrom(...' <>&;"\'/=#ax1\0'.split('')));
  const taken: { readonly text: string; readonly parameters: unknown }[] = [];
  for (const damages of fc.sample(fc.array(damage, { minLength: 1, maxLength: 2 }), {
    numRuns: 4000,
    seed: 6,
  })) {
    let text = document;
    for (const [at, character] of damages) text = text.slice(0, at) + character + text.slice(at + 1);
    try {
      const { parameters } = read(text);
      taken.push({
        text,
        parameters: JSON.parse(
          JSON.stringify(parameters, (_, v: unknown) => (typeof v === 'bigint' ? { i4: Number(v) } : v)),
        ),
      });
    } catch (error) {
      expect(error).toMatchObject({ name: expect.stringMatching(/^Xml(Rpc)?Fault$/) as string });
    }
  }
  expect(taken.length).toBeGreaterThan(100);
  const program = `
def read(text):
    try: return plain(list(x.loads(text)[0]))
    except Exception as e: return repr(e)
answer = [read(text) for text in given]`;
  const texts = taken.map(({ text }) => text);
  expect(python(program, texts)).toEqual(taken.map(({ parameters }) => parameters));
  expect(python(program, [document.replace('12', '13')])).not.toEqual([['a & b', [{ i4: 12 }, 'x']]]);
});
