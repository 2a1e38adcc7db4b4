import { printable } from './corrupt.js';

/** Bytes of an image, such as a name, for messages: short, everything but printable ASCII escaped as `\xNN`. */
export function printableBytes(bytes: Uint8Array): string {
  return printable(Buffer.from(bytes).toString('latin1'));
}
