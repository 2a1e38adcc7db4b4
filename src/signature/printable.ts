/**
 * What a terminal would obey or hide instead of show: C0 and C1 controls and DEL (escape sequences start with
 * them), format characters (bidirectional overrides, zero-width characters, soft hyphen, tags), line and paragraph
 * separators, lone surrogates, private use and unassigned code points.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu;

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/**
 * Text from a key, a signature or a program, made fit for messages and terminals: one line, and everything that is
 * not a visible character or a space is written as `\xNN` or `\u{N}`. A backslash becomes two, so that nobody can
 * write an escape of ours by hand.
 *
 * @param maximumCharacters what is longer is cut off and ends in `…`
 */
export function printable(text: string, maximumCharacters = 500): string {
  const cut = text.length > maximumCharacters;
  const kept = cut ? text.slice(0, maximumCharacters) : text;
  const escaped = kept.replaceAll('\\', '\\\\').replaceAll(UNPRINTABLE, escapeCharacter);
  return cut ? `${escaped}…` : escaped;
}

/** Up to 16 bytes as spaced hex, for "found": `50 4b 03 04`. */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
