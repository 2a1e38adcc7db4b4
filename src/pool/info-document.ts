import { PatchVdiError } from '../errors.js';
import { KIB } from '../units.js';
import { isUuid } from './folder-places.js';
import { parseStrictXml, XmlFault } from '../strict-xml.js';

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

/** What there can be to do after an apply. */
export const GUIDANCE: ReadonlySet<string> = new Set([
  'restartHVM',
  'restartPV',
  'restartHost',
  'restartXAPI',
]);
const LIMITS = { maxCharacters: 64 * KIB, maxDepth: 4, maxTags: 16 };
const MAX_NAME_CHARACTERS = 4 * KIB;

function refused(found: string, expected: string): PatchVdiError {
  return new PatchVdiError('upload', 'the patch does not say what it is', {
    context: { operation: 'read the info of the patch', found: found.slice(0, 200), expected },
  });
}

/**
 * The attributes of a document that is one empty element `info`, a declaration in front of it or not: everything else
 * that XML has (comments, document types, entities, children) is refused.
 */
function infoAttributes(xml: string): ReadonlyMap<string, string> {
  const expected = '<info uuid="…" …/>';
  try {
    const { name, attributes, children } = parseStrictXml(xml, LIMITS);
    if (name !== 'info') throw refused(`the element ${JSON.stringify(name.slice(0, 60))}`, expected);
    // White space is what people put between <info …> and </info>.
    const full = children.some((child) => typeof child !== 'string' || child.trim() !== '');
    if (full) throw refused('something in the element', expected);
    return attributes;
  } catch (error) {
    if (error instanceof XmlFault) throw refused(error.found, error.expected);
    throw error;
  }
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
