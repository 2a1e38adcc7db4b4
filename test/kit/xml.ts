import { runJudge, verdictAgainst } from '../oracles/run-judge.js';

/** An element as Python's XML parser sees it. */
export interface XmlElement {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
  readonly children: readonly XmlElement[];
}

const PROGRAM = `
import json, sys
import xml.etree.ElementTree as tree
def plain(e):
    return {'tag': e.tag, 'attributes': e.attrib, 'text': e.text or '', 'children': [plain(c) for c in e]}
print(json.dumps(plain(tree.fromstring(sys.stdin.buffer.read()))))
`;

/** The program that judges. */
export const XML_JUDGE = 'python3';

/** Parses a document by somebody else's parser; throws with its words when it is not well-formed. */
export function parseXml(document: string): XmlElement {
  const result = runJudge(XML_JUDGE, ['-c', PROGRAM], document);
  if (result.exitCode !== 0) throw verdictAgainst(XML_JUDGE, document, result);
  return JSON.parse(result.stdout) as XmlElement;
}
