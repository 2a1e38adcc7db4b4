import { XmlFault, parseStrictXml, type XmlElement, type XmlLimits } from '../strict-xml.js';
import { KIB } from '../units.js';

/** Why a precheck said no: the error documents of XAPI's patches. Texts are the patch's own, and not to be trusted. */
export type PrecheckFailure =
  | { readonly code: 'UNKNOWN_ERROR'; readonly info: string }
  | { readonly code: 'ISO_MOUNTED'; readonly info: string }
  | { readonly code: 'PREREQUISITE_MISSING'; readonly uuids: readonly string[] }
  | { readonly code: 'WRONG_SERVER_VERSION'; readonly found: string; readonly required: string }
  | { readonly code: 'WRONG_SERVER_BUILD'; readonly found: string; readonly required: string }
  | { readonly code: 'VM_RUNNING' }
  | { readonly code: 'OUT_OF_SPACE'; readonly found: string; readonly required: string };

const PREFIX = 'PATCH_PRECHECK_FAILED_';
const MAX_PREREQUISITES = 1000;
const MAX_FIELD_CHARACTERS = 4 * KIB;
const DOCUMENT_LIMITS: XmlLimits = { maxCharacters: 64 * KIB, maxDepth: 8, maxTags: 4096 };

function childrenOf({ children }: XmlElement, name: string): XmlElement[] {
  return children.flatMap((child) => (typeof child === 'string' || child.name !== name ? [] : [child]));
}

/** The text of all children of that name, a line each. */
function textOf(element: XmlElement, name: string): string {
  const texts = childrenOf(element, name).map(({ children }) =>
    children
      .filter((child) => typeof child === 'string')
      .join('')
      .trim(),
  );
  return texts.join('\n').slice(0, MAX_FIELD_CHARACTERS);
}

function failureOf(element: XmlElement): PrecheckFailure | undefined {
  const errorcode = element.attributes.get('errorcode') ?? '';
  if (element.name !== 'error' || !errorcode.startsWith(PREFIX)) return undefined;
  const code = errorcode.slice(PREFIX.length);
  switch (code) {
    case 'UNKNOWN_ERROR':
    case 'ISO_MOUNTED':
      return { code, info: textOf(element, 'info') };
    case 'PREREQUISITE_MISSING': {
      const uuids = childrenOf(element, 'prerequisite')
        .slice(0, MAX_PREREQUISITES)
        .map(({ attributes }) => (attributes.get('uuid') ?? '').slice(0, MAX_FIELD_CHARACTERS));
      return { code, uuids };
    }
    case 'WRONG_SERVER_VERSION':
    case 'WRONG_SERVER_BUILD':
    case 'OUT_OF_SPACE':
      return { code, found: textOf(element, 'found'), required: textOf(element, 'required') };
    case 'VM_RUNNING':
      return { code };
    default:
      return undefined;
  }
}

/** The one element of it; undefined for what is no document. */
function documentIn(stdout: string): XmlElement | undefined {
  try {
    return parseStrictXml(stdout, DOCUMENT_LIMITS);
  } catch (error) {
    if (error instanceof XmlFault) return undefined;
    throw error;
  }
}

/**
 * What a precheck that failed has printed: `<error errorcode="PATCH_PRECHECK_FAILED_…">`, with what belongs to the
 * code. Whatever is no such document is an unknown error with all of its text.
 *
 * @param stdout more than 64 KiB are no document
 * @param otherwise what an unknown error says
 */
export function parsePrecheckFailure(stdout: string, otherwise: string): PrecheckFailure {
  const element = documentIn(stdout);
  const failure = element === undefined ? undefined : failureOf(element);
  return failure ?? { code: 'UNKNOWN_ERROR', info: otherwise };
}
