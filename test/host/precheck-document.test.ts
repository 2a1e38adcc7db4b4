import fc from 'fast-check';
import { expect, test } from 'vitest';
import { precheckDocument } from '../../src/kit/documents.js';
import { parsePrecheckFailure } from '../../src/host/precheck-document.js';
import { parseStrictXml } from '../../src/strict-xml.js';
import { requireTool } from '../oracles/require-tool.js';
import { parseXml, XML_JUDGE } from '../kit/xml.js';

const UUID = '0d8a2f0c-6c3e-4a53-9f0e-5d5c1a7b9e11';
const unknown = { code: 'UNKNOWN_ERROR', info: 'otherwise' };
const parse = (text: string): object => parsePrecheckFailure(text, 'otherwise');
const error = (code: string, inside = ''): string =>
  `<error errorcode="PATCH_PRECHECK_FAILED_${code}">${inside}</error>`;

test('each code of XAPI, by hand', () => {
  expect(parse(error('UNKNOWN_ERROR', '<info>a &lt;b&gt; &#x41;</info>'))).toEqual({
    code: 'UNKNOWN_ERROR',
    info: 'a <b> A',
  });
  expect(parse(`<?xml version="1.0"?>\n${error('ISO_MOUNTED', '\n <info> an ISO\n</info>\n')}\n`)).toEqual({
    code: 'ISO_MOUNTED',
    info: 'an ISO',
  });
  const two = `<prerequisite uuid="${UUID}"/><prerequisite uuid='b'></prerequisite>`;
  expect(parse(error('PREREQUISITE_MISSING', two))).toEqual({
    code: 'PREREQUISITE_MISSING',
    uuids: [UUID, 'b'],
  });
  for (const code of ['WRONG_SERVER_VERSION', 'WRONG_SERVER_BUILD', 'OUT_OF_SPACE']) {
    const inside = '<found>6.5.0</found><required>^6\\.2</required>';
    expect(parse(error(code, inside))).toEqual({ code, found: '6.5.0', required: '^6\\.2' });
  }
  expect(parse(error('VM_RUNNING'))).toEqual({ code: 'VM_RUNNING' });
  expect(parse('<error errorcode="PATCH_PRECHECK_FAILED_VM_RUNNING"/>')).toEqual({ code: 'VM_RUNNING' });
  expect(parse(precheckDocument('prerequisite-missing', UUID, 0) ?? '')).toEqual({
    code: 'PREREQUISITE_MISSING',
    uuids: [UUID],
  });
});

/** Named by the reason. */
const NO_DOCUMENTS: Readonly<Record<string, string>> = {
  'nothing at all': '',
  'no XML': 'the precheck failed',
  'words in front': `words ${error('VM_RUNNING')}`,
  'words behind': `${error('VM_RUNNING')} words`,
  'two documents': error('VM_RUNNING') + error('VM_RUNNING'),
  'another code': error('SOMETHING_NEW'),
  'a name of a prototype': error('constructor'),
  'another prefix': '<error errorcode="VM_RUNNING"/>',
  'another element': '<info errorcode="PATCH_PRECHECK_FAILED_VM_RUNNING"/>',
  'no code': '<error/>',
  'a code twice': '<error errorcode="PATCH_PRECHECK_FAILED_VM_RUNNING" errorcode="x"/>',
  'not closed': '<error errorcode="PATCH_PRECHECK_FAILED_VM_RUNNING">',
  'closed by another': '<error errorcode="PATCH_PRECHECK_FAILED_VM_RUNNING"></info>',
  'a document type': `<!DOCTYPE error [<!ENTITY a "b">]>${error('UNKNOWN_ERROR', '<info>&a;</info>')}`,
  'an entity': error('UNKNOWN_ERROR', '<info>&a;</info>'),
  'an entity of a prototype': error('UNKNOWN_ERROR', '<info>&constructor;</info>'),
  'a comment': error('VM_RUNNING', '<!-- x -->'),
  'an instruction': error('VM_RUNNING', '<?x?>'),
  'a NUL': error('UNKNOWN_ERROR', '<info>\0</info>'),
  'a reference to NUL': error('UNKNOWN_ERROR', '<info>&#0;</info>'),
  'an ampersand alone': error('UNKNOWN_ERROR', '<info>a & b</info>'),
  'too deep': error('UNKNOWN_ERROR', `${'<a>'.repeat(50)}${'</a>'.repeat(50)}`),
  'too long': error('UNKNOWN_ERROR', `<info>${'x'.repeat(65_536)}</info>`),
};

test.for(Object.entries(NO_DOCUMENTS))('%s: an unknown error with the words of the patch', ([, text]) => {
  expect(parse(text)).toEqual(unknown);
});

test('any text has a failure, in no time', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      expect(parse(text)).toEqual(unknown);
    }),
  );
  const pieces = fc.constantFrom(
    '<',
    '>',
    '</',
    '/>',
    'error',
    ' errorcode=',
    '"',
    "'",
    '&',
    ';',
    '#x',
    'info',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
      expect(parse(parts.join(''))).toMatchObject({ code: 'UNKNOWN_ERROR' });
    }),
  );
});

test('a document that is taken says what another parser finds in it', (context) => {
  requireTool(context, XML_JUDGE);
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<error errorcode='a&#10;b\tc' x="&quot;&apos;"> t&amp;u <found>1</found><required/>v</error>`;
  const ours = parseStrictXml(text, { maxCharacters: 1000, maxDepth: 8, maxTags: 100 });
  expect(ours.children.map((child) => (typeof child === 'string' ? child : child.name))).toEqual([
    ' t&u ',
    'found',
    'required',
    'v',
  ]);
  const theirs = parseXml(text);
  expect({ name: ours.name, attributes: Object.fromEntries(ours.attributes) }).toEqual({
    name: theirs.tag,
    attributes: theirs.attributes,
  });
});
