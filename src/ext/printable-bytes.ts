/** For messages: longer texts tell no more. */
const MAX_SHOWN_BYTES = 48;

/** Bytes of an image, such as a name, as printable ASCII for messages: `\xNN` for whatever is not; cut at 48 bytes. */
export function printableBytes(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, MAX_SHOWN_BYTES), (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x5c
      ? String.fromCodePoint(byte)
      : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
  return bytes.length > MAX_SHOWN_BYTES ? `${shown}... (${bytes.length} bytes)` : shown;
}
