/** No answer of the XenAPI is nested so deeply: an event has a snapshot of a record with maps. */
const MAX_DEPTH = 64;
/** Records of thirty thousand disks have fewer. When parsed, each takes 60 bytes and more. */
const MAX_VALUES = 2_000_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** What is too much in a text, in the words of an error. */
export interface Excess {
  readonly found: string;
  readonly expected: string;
}

/** Where the string ends that begins there. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length && text.charCodeAt(at) !== QUOTE; at += 1) {
    if (text.charCodeAt(at) === BACKSLASH) at += 1;
  }
  return at;
}

/**
 * Looks at JSON before it is parsed: a text of 64 MiB may become gigabytes of empty arrays, for half a minute in which
 * nothing else is done, or a tower on which everything that recurses falls over.
 *
 * @returns undefined when it may be parsed; a text that is no JSON may be, too
 */
export function excessOf(text: string): Excess | undefined {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === COMMA) values += 1;
    else if (OPENING.has(code)) {
      depth += 1;
      values += 1;
    } else if (CLOSING.has(code)) depth -= 1;
    if (depth > MAX_DEPTH) return { found: `values nested ${depth} deep`, expected: `${MAX_DEPTH} at most` };
    if (values > MAX_VALUES)
      return { found: `more than ${MAX_VALUES} values`, expected: 'that many at most' };
  }
  return undefined;
}
