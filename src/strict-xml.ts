import { XMLParser, XMLValidator } from 'fast-xml-parser';

/** An element with what is in it, in the order of the document; text has its references replaced. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly (XmlElement | string)[];
}

export interface XmlLimits {
  readonly maxCharacters: number;
  /** Elements within each other. */
  readonly maxDepth: number;
  /** Starts and ends of elements: the time that a document takes goes with them. */
  readonly maxTags: number;
}

/** Why a text is no document that is taken here. Both parts are for people. */
export class XmlFault extends Error {
  override readonly name = 'XmlFault';
  readonly found: string;
  readonly expected: string;

  constructor(found: string, expected: string) {
    super(`${found}; expected ${expected}`);
    this.found = found;
    this.expected = expected;
  }
}

/** XML 1.0, section 2.2, the complement of Char; half a surrogate pair is one of them. */
export const NO_XML_CHARACTER = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

const TEXT = '#text';
const CDATA = '#cdata';
const CDATA_START = '<![CDATA[';
const CDATA_END = ']]>';
const ATTRIBUTES = ':@';
const ATTRIBUTE_PREFIX = '@';
const WRAPPER = 'document';

/** XML 1.0, section 4.6; a document without a type has no others. */
const NAMED_REFERENCES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

const quoted = (text: string): string => JSON.stringify(text.slice(0, 60));

/** A node of the package: one key that is the name, and maybe one with the attributes. */
type ParsedNode = Readonly<Record<string, unknown>>;

function referredText(reference: string, name: string): string {
  const [, hexadecimal, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name) ?? [];
  const digits = hexadecimal ?? decimal;
  const code =
    digits === undefined ? undefined : Number.parseInt(digits, hexadecimal === undefined ? 10 : 16);
  const text =
    code === undefined
      ? NAMED_REFERENCES.get(name)
      : code <= 0x10ffff
        ? String.fromCodePoint(code)
        : undefined;
  if (text === undefined || !reference.endsWith(';') || NO_XML_CHARACTER.test(text)) {
    throw new XmlFault(`the reference ${quoted(reference)}`, 'one that XML 1.0 knows');
  }
  return text;
}

/** XML 1.0, section 4.1. The package would let references pass that it does not know. */
function withoutReferences(raw: string): string {
  return raw.replaceAll(/&([^;&]{0,16});?/g, referredText);
}

/** XML 1.0, section 3.3.3: white space becomes spaces, references are what they stand for. */
function attributeValue(raw: unknown): string {
  const text = String(raw);
  if (text.includes('<')) throw new XmlFault('the character "<" in an attribute', '&lt;');
  return withoutReferences(text.replaceAll(/\r\n|[\t\n\r]/g, ' '));
}

function attributesOf(node: ParsedNode): ReadonlyMap<string, string> {
  const attributes = node[ATTRIBUTES] ?? {};
  return new Map(
    Object.entries(attributes).map(([name, raw]) => [
      name.slice(ATTRIBUTE_PREFIX.length),
      attributeValue(raw),
    ]),
  );
}

function nodeName(node: ParsedNode): string {
  return Object.keys(node).find((key) => key !== ATTRIBUTES) ?? '';
}

function childrenOf(node: ParsedNode): readonly ParsedNode[] {
  const children = node[nodeName(node)];
  return Array.isArray(children) ? (children as ParsedNode[]) : [];
}

/** What {@link TEXT}, or the one text within {@link CDATA}, holds. */
function rawText(node: ParsedNode, name: string): string {
  if (name === TEXT) return String(node[TEXT]);
  return childrenOf(node)
    .map((child) => String(child[TEXT]))
    .join('');
}

function elementOf(node: ParsedNode): XmlElement {
  const children: (XmlElement | string)[] = [];
  for (const child of childrenOf(node)) {
    const name = nodeName(child);
    if (name === TEXT) {
      const raw = rawText(child, name);
      if (raw.includes(CDATA_END)) throw new XmlFault(`${quoted(CDATA_END)} in a text`, ']]&gt;');
      children.push(withoutReferences(raw));
    } else if (name === CDATA) {
      children.push(rawText(child, name));
    } else {
      children.push(elementOf(child));
    }
  }
  return { name: nodeName(node), attributes: attributesOf(node), children };
}

/** XML 1.0, section 2.8: the only thing that may stand in front of the element. */
const DECLARATION = /^<\?xml[\t\n\r ]([^<>?]{0,200})\?>/;
const GOOD_DECLARATION =
  /^\s*version\s*=\s*(["'])1\.0\1(?:\s+encoding\s*=\s*(["'])(?:utf-8|us-ascii)\2)?(?:\s+standalone\s*=\s*(["'])(?:yes|no)\3)?\s*$/i;

function withoutDeclaration(text: string): string {
  const [declaration, content] = DECLARATION.exec(text) ?? [];
  if (declaration === undefined || content === undefined) return text;
  if (!GOOD_DECLARATION.test(content)) {
    throw new XmlFault(quoted(declaration), '<?xml version="1.0" encoding="UTF-8"?>');
  }
  return text.slice(declaration.length);
}

function checkCharacters(text: string, { maxCharacters }: XmlLimits): void {
  if (text.length > maxCharacters) {
    throw new XmlFault(`${text.length} characters`, `${maxCharacters} at most`);
  }
  const bad = NO_XML_CHARACTER.exec(text);
  if (bad !== null) {
    const code = bad[0].codePointAt(0)?.toString(16).toUpperCase();
    throw new XmlFault(`the character U+${code}`, 'characters of XML 1.0');
  }
}

/** XML 1.0, sections 3.1 and 2.3, with the names that anybody uses, and as many attributes. */
const TAG =
  /<\/?[A-Za-z_][\w.:-]{0,127}(?:[\t\n\r ]+[A-Za-z_][\w.:-]{0,127}[\t\n\r ]*=[\t\n\r ]*(?:"[^"<]*"|'[^'<]*')){0,64}[\t\n\r ]*\/?>/y;

/** @returns where the markup that begins at `at` ends */
function endOfMarkup(text: string, at: number): number {
  if (text.startsWith(CDATA_START, at)) {
    const end = text.indexOf(CDATA_END, at + CDATA_START.length);
    if (end === -1) throw new XmlFault(`${CDATA_START} without its end`, CDATA_END);
    return end + CDATA_END.length;
  }
  TAG.lastIndex = at;
  if (TAG.test(text)) return TAG.lastIndex;
  const words: Readonly<Record<string, string>> = { '<!-': 'a comment', '<!D': 'a document type' };
  throw new XmlFault(words[text.slice(at, at + 3)] ?? quoted(text.slice(at)), 'elements and text');
}

/**
 * What is neither an element nor text is refused before the package sees it: it would expand what a document type
 * declares, and it is lax with the rest. Only CDATA sections may stay.
 */
function checkMarkup(text: string, { maxTags }: XmlLimits): void {
  let tags = 0;
  for (let at = text.indexOf('<'); at !== -1; at = text.indexOf('<', endOfMarkup(text, at))) {
    tags += 1;
    if (tags > maxTags) throw new XmlFault(`more than ${maxTags} tags`, `${maxTags} at most`);
  }
}

/**
 * What stands at the top would be passed over by the package when it is text, so everything is put into an element: a
 * document that closes it early has two.
 */
function parseNodes(text: string, { maxDepth }: XmlLimits): readonly ParsedNode[] {
  const verdict = XMLValidator.validate(text);
  if (verdict !== true) {
    throw new XmlFault(verdict.err.msg.slice(0, 120), 'well-formed XML');
  }
  const parser = new XMLParser({
    preserveOrder: true,
    ignoreAttributes: false,
    attributeNamePrefix: ATTRIBUTE_PREFIX,
    textNodeName: TEXT,
    cdataPropName: CDATA,
    jPath: false,
    parseTagValue: false,
    parseAttributeValue: false,
    trimValues: false,
    processEntities: false,
    maxNestedTags: maxDepth + 1,
  });
  try {
    return parser.parse(text) as ParsedNode[];
  } catch (error) {
    throw new XmlFault(error instanceof Error ? error.message.slice(0, 120) : 'no XML', 'well-formed XML');
  }
}

/**
 * The one element of a document. What nobody needs is refused: document types, so that there are no entities but the
 * five of XML itself, comments and processing instructions.
 *
 * @throws XmlFault for everything that is no such document
 */
export function parseStrictXml(text: string, limits: XmlLimits): XmlElement {
  checkCharacters(text, limits);
  const document = withoutDeclaration(text.trim());
  checkMarkup(document, limits);
  const wrapped = `<${WRAPPER}>${document}</${WRAPPER}>`;
  const tops = parseNodes(wrapped, limits).map(elementOf);
  const [top] = tops;
  const [root, ...others] = (top?.children ?? []).filter(
    (child) => typeof child !== 'string' || child.trim() !== '',
  );
  if (tops.length !== 1 || root === undefined || others.length > 0 || typeof root === 'string') {
    throw new XmlFault('something beside the element', 'one element');
  }
  return root;
}
