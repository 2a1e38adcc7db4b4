import { expect, test } from 'vitest';
import fc from 'fast-check';
import { infoDocument } from '../../src/kit/documents.js';
import { parseInfoDocument } from '../../src/pool/info-document.js';
import { requireTool } from '../oracles/require-tool.js';
import { parseXml, XML_JUDGE } from '../kit/xml.js';

const UUID = '0d8a2f0c-6c3e-4a53-9f0e-5d5c1a7b9e11';

test('the documents of real patches', () => {
  const document = `<?xml version="1.0" encoding="UTF-8"?>
<info uuid="${UUID.toUpperCase()}" version='1.0' name-label="XS62ESP1"
  name-description="Public Availability: &quot;SP1&quot; &lt;all&gt; &amp; &#x41;&#66;" after-apply-guidance="restartHVM restartPV restartHost"/>
`;
  expect(parseInfoDocument(document)).toEqual({
    uuid: UUID,
    version: '1.0',
    nameLabel: 'XS62ESP1',
    nameDescription: 'Public Availability: "SP1" <all> & AB',
    afterApplyGuidance: ['restartHVM', 'restartPV', 'restartHost'],
  });
  expect(parseInfoDocument(`<info uuid="${UUID}"></info>`)).toMatchObject({
    version: '',
    afterApplyGuidance: [],
  });
  expect(
    parseInfoDocument(`<info uuid="${UUID}" after-apply-guidance="" build="7"/>`).afterApplyGuidance,
  ).toEqual([]);
});

/** Named by the reason. */
const REFUSED: Readonly<Record<string, string>> = {
  'nothing at all': '',
  'no XML': 'usage: patch info',
  'another element': `<error uuid="${UUID}"/>`,
  'a longer name': `<information uuid="${UUID}"/>`,
  'no uuid': '<info version="1"/>',
  'a path as the uuid': '<info uuid="../../etc/passwd"/>',
  'a uuid with a newline': `<info uuid="${UUID}&#10;"/>`,
  'an attribute twice': `<info uuid="${UUID}" uuid="${UUID}"/>`,
  'an attribute without quotes': `<info uuid=${UUID}/>`,
  'no space between attributes': `<info uuid="${UUID}"version="1"/>`,
  'a child': `<info uuid="${UUID}"><a/></info>`,
  'text in it': `<info uuid="${UUID}">text</info>`,
  'text behind it': `<info uuid="${UUID}"/>text`,
  'two of them': `<info uuid="${UUID}"/><info uuid="${UUID}"/>`,
  'a comment': `<!-- x --><info uuid="${UUID}"/>`,
  'a document type': `<!DOCTYPE info [<!ENTITY a "b">]><info uuid="${UUID}" version="&a;"/>`,
  'an entity': `<info uuid="${UUID}" version="&a;"/>`,
  'a name of a prototype as an entity': `<info uuid="${UUID}" version="&constructor;"/>`,
  'an ampersand alone': `<info uuid="${UUID}" version="a & b"/>`,
  'a reference without its end': `<info uuid="${UUID}" version="&amp"/>`,
  'a reference to NUL': `<info uuid="${UUID}" version="&#0;"/>`,
  'a reference to half a pair': `<info uuid="${UUID}" version="&#xD800;"/>`,
  'a reference beyond Unicode': `<info uuid="${UUID}" version="&#x110000;"/>`,
  'an angle in a value': `<info uuid="${UUID}" version="<"/>`,
  'a NUL': `<info uuid="${UUID}" version="\0"/>`,
  'an unknown guidance': `<info uuid="${UUID}" after-apply-guidance="formatDisk"/>`,
  'a long name': `<info uuid="${UUID}" name-label="${'x'.repeat(5000)}"/>`,
  'a long document': `<info uuid="${UUID}" ${Array.from({ length: 9000 }, (_, n) => `a${n}="x"`).join(' ')}/>`,
  'no end': `<info uuid="${UUID}"`,
};

test.for(Object.entries(REFUSED))('refused: %s', ([, document]) => {
  expect(() => parseInfoDocument(document)).toThrow(
    expect.objectContaining({ name: 'PatchVdiError', kind: 'upload' }) as Error,
  );
});

test("any text that our kit, and somebody else's parser, take, is read as they do", (context) => {
  requireTool(context, XML_JUDGE);
  const text = fc.string({
    unit: fc.constantFrom('😀', ...'aZ09 &<>"\'\t\n\réß漢\u2028;#x'.split('')),
    maxLength: 40,
  });
  fc.assert(
    fc.property(text, text, (nameLabel, version) => {
      const document = infoDocument({
        uuid: UUID,
        version,
        nameLabel,
        nameDescription: '',
        guidance: ['restartPV'],
      });
      expect(parseInfoDocument(document)).toMatchObject({
        nameLabel,
        version,
        afterApplyGuidance: ['restartPV'],
      });
      expect(parseXml(document).attributes['name-label']).toBe(nameLabel);
    }),
    { numRuns: 25 },
  );
});

test('random damage ends in a result or in the one error, and a result is what the judge reads too', (context) => {
  requireTool(context, XML_JUDGE);
  const document = `<info uuid="${UUID}" version="1 &amp; 2" name-label='x'/>`;
  let good = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(document.length), fc.constantFrom(...' <>&;"\'/=#ax\0'.split(''))), {
        minLength: 1,
        maxLength: 3,
      }),
      (damages) => {
        let spoilt = document;
        for (const [at, character] of damages)
          spoilt = spoilt.slice(0, at) + character + spoilt.slice(at + 1);
        let result;
        try {
          result = parseInfoDocument(spoilt);
        } catch (error) {
          expect(error).toMatchObject({ name: 'PatchVdiError', kind: 'upload' });
          return;
        }
        good += 1;
        if (good < 60) expect(parseXml(spoilt).attributes['version'] ?? '').toBe(result.version);
      },
    ),
    { numRuns: 3000 },
  );
  expect(good).toBeGreaterThan(20);
});
