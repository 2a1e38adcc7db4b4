import { PatchVdiError } from '../errors.js';
import { KIB } from '../units.js';
import { isUuid } from './folder-places.js';

/** What a patch says about itself when it is run with `info`. */
export interface PatchInfo {
  readonly uuid: string;
  readonly version: string;
  readonly nameLabel: string;
  readonly nameDescription: string;
  /** Each of the four once, in the order of the document. */
  readonly afterApplyGuidance: readonly string[];
}

/** @throws PatchVdiError `upload` for a text that is no such document */
export type ParseInfo = (xml: string) => PatchInfo;

const GUIDANCE = new Set(['restartHVM', 'restartPV', 'restartHost', 'restartXAPI']);
const MAX_DOCUMENT_CHARACTERS = 64 * KIB;
const MAX_NAME_CHARACTERS = 4 * KIB;

/** XML 1.0, section 2.2, the complement of Char; half a surrogate pair is one of them. */
const NO_XML_CHARACTER = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

const NAMED_REFERENCES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

function refused(found: string, expected: string): PatchVdiError {
  return new PatchVdiError('upload', 'the patch does not say what it is', {
    context: { operation: 'read the info of the patch', found: found.slice(0, 200), expected },
  });
}

/** XML 1.0, section 3.3.3: white space becomes spaces, references are what they stand for. */
function attributeValue(raw: string): string {
  return raw.replaceAll(/\r\n|[\t\n\r]|&([^;&]{0,16});?/g, (match: string, name: string | undefined) => {
    if (name === undefined) return ' ';
    const numeric = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name);
    const code =
      numeric === null
        ? undefined
        : Number.parseInt(numeric[1] ?? numeric[2] ?? '', numeric[1] === undefined ? 10 : 16);
    const text =
      code === undefined
        ? Object.hasOwn(NAMED_REFERENCES, name)
          ? NAMED_REFERENCES[name]
          : undefined
        : code <= 0x10ffff
          ? String.fromCodePoint(code)
          : undefined;
    if (text === undefined || !match.endsWith(';') || NO_XML_CHARACTER.test(text)) {
      throw refused(`the reference ${JSON.stringify(match)}`, 'one that XML 1.0 knows');
    }
    return text;
  });
}

/** One attribute with the white space in front of it; sticky, so that nothing is passed over and nothing tried twice. */
const ATTRIBUTE = /[\t\n\r ]+([A-Za-z_][A-Za-z0-9_.-]{0,63})[\t\n\r ]*=[\t\n\r ]*(?:"([^"<]*)"|'([^'<]*)')/y;
const DECLARATION = /^<\?xml[\t\n\r ][^<>?]{0,200}\?>/;
const END = /^[\t\n\r ]*(?:\/>|>[\t\n\r ]*<\/info[\t\n\r ]*>)$/;

/**
 * The attributes of a document that is one empty element `info`, a declaration in front of it or not: everything else
 * that XML has (comments, document types, entities, children) is refused. To be replaced by an XML package together
 * with the one of the server.
 */
function infoAttributes(xml: string): ReadonlyMap<string, string> {
  if (xml.length > MAX_DOCUMENT_CHARACTERS) {
    throw refused(`${xml.length} characters`, `${MAX_DOCUMENT_CHARACTERS} at most`);
  }
  const bad = NO_XML_CHARACTER.exec(xml);
  if (bad !== null)
    throw refused(`the character U+${bad[0].codePointAt(0)?.toString(16)}`, 'characters of XML 1.0');
  const text = xml.trim().replace(DECLARATION, '').trim();
  const expected = '<info uuid="…" …/>';
  if (!text.startsWith('<info')) throw refused(JSON.stringify(text.slice(0, 60)), expected);
  const attributes = new Map<string, string>();
  let at = '<info'.length;
  for (;;) {
    ATTRIBUTE.lastIndex = at;
    const match = ATTRIBUTE.exec(text);
    if (match === null) break;
    const name = match[1] ?? '';
    if (attributes.has(name)) throw refused(`${name} twice`, 'every attribute once');
    attributes.set(name, attributeValue(match[2] ?? match[3] ?? ''));
    at = ATTRIBUTE.lastIndex;
  }
  if (!END.test(text.slice(at))) throw refused(JSON.stringify(text.slice(at, at + 60)), expected);
  return attributes;
}

/**
 * `<info uuid="…" version="…" name-label="…" name-description="…" after-apply-guidance="…"/>`. Attributes that nobody
 * knows are passed over; without a version, a name or guidance they are empty.
 */
export const parseInfoDocument: ParseInfo = (xml) => {
  const attributes = infoAttributes(xml);
  const text = (name: string): string => {
    const value = attributes.get(name) ?? '';
    if (value.length > MAX_NAME_CHARACTERS) {
      throw refused(`a ${name} of ${value.length} characters`, `${MAX_NAME_CHARACTERS} at most`);
    }
    return value;
  };
  const uuid = text('uuid').toLowerCase();
  if (!isUuid(uuid))
    throw refused(`the UUID ${JSON.stringify(uuid.slice(0, 60))}`, '8-4-4-4-12 hexadecimal digits');
  const words = text('after-apply-guidance')
    .split(' ')
    .filter((word) => word !== '');
  const unknown = words.find((word) => !GUIDANCE.has(word));
  if (unknown !== undefined) {
    throw refused(`the guidance ${JSON.stringify(unknown.slice(0, 60))}`, [...GUIDANCE].join(', '));
  }
  return {
    uuid,
    version: text('version'),
    nameLabel: text('name-label'),
    nameDescription: text('name-description'),
    afterApplyGuidance: [...new Set(words)],
  };
};
