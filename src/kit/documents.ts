import { PatchVdiError } from '../errors.js';

/** What a host has to do after it has applied a patch. */
export const GUIDANCE = ['restartHVM', 'restartPV', 'restartHost', 'restartXAPI'] as const;

export type Guidance = (typeof GUIDANCE)[number];

/** The answers that a precheck can be told to give. */
export const PRECHECKS = [
  'ok',
  'unknown-error',
  'prerequisite-missing',
  'wrong-server-version',
  'wrong-server-build',
  'vm-running',
  'out-of-space',
  'iso-mounted',
] as const;

export type Precheck = (typeof PRECHECKS)[number];

/** What a patch says about itself. */
export interface PatchInfo {
  readonly uuid: string;
  readonly version: string;
  readonly nameLabel: string;
  readonly nameDescription: string;
  readonly guidance: readonly Guidance[];
}

const MAX_TEXT_CHARACTERS = 16 * 1024;

/** Every character that XML 1.0 cannot hold at all (section 2.2, Char); half a surrogate pair is one of them. */
const NO_XML_CHARACTER = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/u;

/** @throws PatchVdiError `usage` when a text cannot stand in an XML document */
export function checkDocumentText(option: string, text: string): string {
  const bad = NO_XML_CHARACTER.exec(text)?.[0];
  if (bad === undefined && text.length <= MAX_TEXT_CHARACTERS) return text;
  const found =
    bad === undefined ? `${text.length} characters` : `U+${(bad.codePointAt(0) ?? 0).toString(16)}`;
  throw new PatchVdiError('usage', `${option} cannot be used`, {
    context: {
      found,
      expected: `at most ${MAX_TEXT_CHARACTERS} characters, each of them one that XML 1.0 allows`,
    },
  });
}

/**
 * Text for an attribute or an element. What is not plain ASCII becomes a character reference, so that a document is
 * one line of ASCII, without quotes of either kind, whatever the locale of the host and its shell; references also
 * keep the line ends of attributes, which a parser would turn into spaces (XML 1.0, section 3.3.3).
 */
function xmlText(text: string): string {
  return text.replaceAll(/[^ !#$%(-;=?-~]/gu, (character) => `&#${character.codePointAt(0)};`);
}

/** The document that `info` prints: one line of ASCII. */
export function infoDocument(info: PatchInfo): string {
  const attributes = [
    ['uuid', info.uuid],
    ['version', info.version],
    ['name-label', info.nameLabel],
    ['name-description', info.nameDescription],
    ['after-apply-guidance', info.guidance.join(' ')],
  ] as const;
  return `<info ${attributes.map(([name, value]) => `${name}="${xmlText(value)}"`).join(' ')}/>`;
}

const foundAndRequired = (found: string, required: string): string =>
  `<found>${xmlText(found)}</found><required>${xmlText(required)}</required>`;

/** The children of the error element, for each code that XAPI knows. */
function errorDetails(precheck: Exclude<Precheck, 'ok'>, prerequisite: string, neededBytes: number): string {
  switch (precheck) {
    case 'unknown-error':
      return '<info>This test patch was told to fail its precheck.</info>';
    case 'iso-mounted':
      return '<info>This test patch was told to find an ISO mounted.</info>';
    case 'prerequisite-missing':
      return `<prerequisite uuid="${prerequisite}"/>`;
    case 'wrong-server-version':
      return foundAndRequired('1.0.0', '99.0.0');
    case 'wrong-server-build':
      return foundAndRequired('1', '99999');
    case 'vm-running':
      return '';
    case 'out-of-space':
      return foundAndRequired('0', String(neededBytes));
    default: {
      const never: never = precheck;
      return never;
    }
  }
}

/**
 * The document that a failing precheck prints: one line of ASCII. Undefined for `ok`.
 *
 * @param prerequisite UUID of a patch that does not exist
 * @param neededBytes what `out-of-space` says is required
 */
export function precheckDocument(
  precheck: Precheck,
  prerequisite: string,
  neededBytes: number,
): string | undefined {
  if (precheck === 'ok') return undefined;
  const code = `PATCH_PRECHECK_FAILED_${precheck.toUpperCase().replaceAll('-', '_')}`;
  return `<error errorcode="${code}">${errorDetails(precheck, prerequisite, neededBytes)}</error>`;
}
