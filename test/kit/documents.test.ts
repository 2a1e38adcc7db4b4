import { beforeEach, describe, expect, test } from 'vitest';
import {
  checkDocumentText,
  infoDocument,
  precheckDocument,
  PRECHECKS,
  type PatchInfo,
} from '../../src/kit/documents.js';
import { requireTool } from '../oracles/require-tool.js';
import { HOSTILE_TEXTS } from './hostile-texts.js';
import { parseXml, XML_JUDGE } from './xml.js';

beforeEach((context) => requireTool(context, XML_JUDGE));

const INFO: PatchInfo = {
  uuid: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  version: '1.2',
  nameLabel: 'label',
  nameDescription: 'description',
  guidance: ['restartHost', 'restartXAPI'],
};

test('an info document is the one that a host expects, letter by letter', () => {
  expect(infoDocument(INFO)).toBe(
    '<info uuid="6ba7b810-9dad-41d1-80b4-00c04fd430c8" version="1.2" name-label="label" name-description="description" after-apply-guidance="restartHost restartXAPI"/>',
  );
  expect(infoDocument({ ...INFO, guidance: [] })).toMatch(/ after-apply-guidance=""\/>$/);
});

test.for(HOSTILE_TEXTS)('an XML parser reads %j as it was', (text) => {
  const document = infoDocument({ ...INFO, nameLabel: text, nameDescription: text, version: text });
  expect(document).toMatch(/^[ -&(-~]*$/);
  expect(parseXml(document).attributes).toEqual({
    uuid: INFO.uuid,
    version: text,
    'name-label': text,
    'name-description': text,
    'after-apply-guidance': 'restartHost restartXAPI',
  });
});

test('the parser can fail', () => {
  expect(() => parseXml(infoDocument(INFO).replace('"/>', '/>'))).toThrow(/python3/);
  expect(() => parseXml('<info a="&"/>')).toThrow(/python3/);
});

test.for(['\u0000', '\u001b[31m', '\ud800', '\ufffe', 'x'.repeat(16_385)])(
  '%j is no text for XML',
  (text) => {
    expect(() => checkDocumentText('the name', text)).toThrow(expect.objectContaining({ kind: 'usage' }));
  },
);

describe('precheck documents', () => {
  const parsed = (precheck: (typeof PRECHECKS)[number]) =>
    parseXml(precheckDocument(precheck, INFO.uuid, 12_345) ?? '<none/>');

  test('have the code of their name; ok has none', () => {
    const codes = PRECHECKS.map((precheck) => parsed(precheck).attributes['errorcode']);
    expect(codes).toEqual([
      undefined,
      'PATCH_PRECHECK_FAILED_UNKNOWN_ERROR',
      'PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING',
      'PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION',
      'PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD',
      'PATCH_PRECHECK_FAILED_VM_RUNNING',
      'PATCH_PRECHECK_FAILED_OUT_OF_SPACE',
      'PATCH_PRECHECK_FAILED_ISO_MOUNTED',
    ]);
  });

  test.for([
    ['unknown-error', ['info']],
    ['iso-mounted', ['info']],
    ['prerequisite-missing', ['prerequisite']],
    ['wrong-server-version', ['found', 'required']],
    ['wrong-server-build', ['found', 'required']],
    ['vm-running', []],
    ['out-of-space', ['found', 'required']],
  ] as const)('%s has what XAPI looks for', ([precheck, children]) => {
    const document = parsed(precheck);
    expect(document.tag).toBe('error');
    expect(document.children.map(({ tag }) => tag)).toEqual(children);
    for (const { tag, text, attributes } of document.children) {
      if (tag === 'prerequisite') expect(attributes).toEqual({ uuid: INFO.uuid });
      else expect(text).not.toBe('');
    }
  });

  test('out-of-space tells how much', () => {
    expect(parsed('out-of-space').children.at(-1)).toMatchObject({ tag: 'required', text: '12345' });
  });
});
