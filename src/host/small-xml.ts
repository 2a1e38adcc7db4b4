import { KIB } from '../units.js';

/** An element with what is in it, in the order of the document; text has its references replaced. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly (XmlElement | string)[];
}

const MAX_CHARACTERS = 64 * KIB;
const MAX_DEPTH = 8;

/** XML 1.0, section 2.2, the complement of Char; half a surrogate pair is one of them. */
const NO_XML_CHARACTER = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

/** XML 1.0, section 4.6. */
const NAMED_REFERENCES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

const DECLARATION = /^<\?xml[\t\n\r ][^<>?]{0,200}\?>/;
/** Sticky, so that nothing is passed over and nothing tried twice. */
const TAG = /<(\/?)([A-Za-z_][A-Za-z0-9_.-]{0,63})/y;
const ATTRIBUTE = /[\t\n\r ]+([A-Za-z_][A-Za-z0-9_.-]{0,63})[\t\n\r ]*=[\t\n\r ]*(?:"([^"<]*)"|'([^'<]*)')/y;
const TAG_END = /[\t\n\r ]*(\/?)>/y;
const TEXT = /[^<]+/y;

/** It is no such document. */
class NoDocument extends Error {}

function withoutReferences(raw: string): string {
  return raw.replaceAll(/&([^;&]{0,16});?/g, (reference: string, name: string) => {
    const [, hexadecimal, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name) ?? [];
    const digits = hexadecimal ?? decimal;
    const code =
      digits === undefined ? undefined : Number.parseInt(digits, hexadecimal === undefined ? 10 : 16);
    const text = code === undefined ? NAMED_REFERENCES.get(name) : characterOf(code);
    if (text === undefined || !reference.endsWith(';') || NO_XML_CHARACTER.test(text)) throw new NoDocument();
    return text;
  });
}

function characterOf(code: number): string | undefined {
  return code <= 0x10ffff ? String.fromCodePoint(code) : undefined;
}

/** Goes through a text once, from its first character to its last. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at = pattern.lastIndex;
    return match;
  }

  need(pattern: RegExp): RegExpExecArray {
    const match = this.take(pattern);
    if (match === undefined) throw new NoDocument();
    return match;
  }
}

function attributes(scanner: Scanner): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (;;) {
    const match = scanner.take(ATTRIBUTE);
    if (match === undefined) return found;
    const [, name = '', double, single = ''] = match;
    if (found.has(name)) throw new NoDocument();
    // XML 1.0, section 3.3.3: white space becomes spaces.
    found.set(name, withoutReferences((double ?? single).replaceAll(/\r\n|[\t\n\r]/g, ' ')));
  }
}

/** Behind `<name`. */
function element(scanner: Scanner, name: string, depth: number): XmlElement {
  if (depth > MAX_DEPTH) throw new NoDocument();
  const found = attributes(scanner);
  const children: (XmlElement | string)[] = [];
  if (scanner.need(TAG_END)[1] === '/') return { name, attributes: found, children };
  for (;;) {
    const text = scanner.take(TEXT)?.[0];
    if (text !== undefined) {
      if (text.includes(']]>')) throw new NoDocument();
      children.push(withoutReferences(text));
    }
    const [, slash, tag = ''] = scanner.need(TAG);
    if (slash === '') children.push(element(scanner, tag, depth + 1));
    else if (tag === name && scanner.need(TAG_END)[1] === '') return { name, attributes: found, children };
    else throw new NoDocument();
  }
}

/**
 * The one element of a document: elements, attributes and text, a declaration in front or not. Comments, CDATA,
 * processing instructions, document types and entities are refused.
 *
 * To be replaced by the strict parser of the XML-RPC server, which has the same result, when it lies on a floor below.
 *
 * @returns undefined for everything that is no such document
 */
export function parseSmallXml(text: string): XmlElement | undefined {
  if (text.length > MAX_CHARACTERS || NO_XML_CHARACTER.test(text)) return undefined;
  try {
    const scanner = new Scanner(text.trim().replace(DECLARATION, '').trim());
    const [, slash, name = ''] = scanner.need(TAG);
    if (slash !== '') return undefined;
    const root = element(scanner, name, 1);
    return scanner.isAtEnd ? root : undefined;
  } catch (error) {
    if (error instanceof NoDocument) return undefined;
    throw error;
  }
}
