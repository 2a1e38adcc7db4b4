import { Lexer } from 'yaml';

/** Far more than a configuration with a thousand users has. */
const MAX_TOKENS = 50_000;
/** Of brackets, of indicators on one line; and in columns where a line begins. A configuration needs 4. */
const MAX_DEPTH = 32;

const OPENING = new Set(['[', '{']);
const CLOSING = new Set([']', '}']);
/** What opens a level inside of a line (YAML 1.2.2, 8.2). */
const INDICATORS = new Set(['-', '?', ':']);

/** What the lexer puts in before documents, scalars and errors (yaml, `CST`): no text. */
const MARKS = new Set(['\u0002', '\u0018', '\u001f']);

export interface BoundsFault {
  /** UTF-16 units from the start of the text. */
  readonly offset: number;
  readonly found: string;
  readonly expected: string;
}

/**
 * What of a text would cost the parser too much, before it sees it: its stack and its time grow faster than the text
 * (tried with yaml 2.9: 24 000 times `- ` on one line end the process, 60 000 keys take a minute). The lexer is linear.
 */
export function yamlBoundsFault(text: string): BoundsFault | undefined {
  let offset = 0;
  let tokens = 0;
  let brackets = 0;
  let indicators = 0;
  let atLineStart = true;
  for (const token of new Lexer().lex(text)) {
    tokens += 1;
    if (tokens > MAX_TOKENS) {
      return { offset, found: `more than ${MAX_TOKENS} tokens`, expected: `at most ${MAX_TOKENS}` };
    }
    if (OPENING.has(token)) brackets += 1;
    else if (CLOSING.has(token)) brackets -= 1;
    else if (INDICATORS.has(token)) indicators += 1;
    const isLineEnd = token === '\n' || token === '\r\n';
    const isIndent = atLineStart && /^ +$/.test(token);
    const depth = Math.max(brackets, indicators, isIndent ? Math.ceil(token.length / 2) : 0);
    if (depth > MAX_DEPTH) {
      return { offset, found: `more than ${MAX_DEPTH} levels`, expected: `at most ${MAX_DEPTH} levels` };
    }
    if (isLineEnd) indicators = 0;
    atLineStart = isLineEnd;
    if (!MARKS.has(token)) offset += token.length;
  }
  return undefined;
}
