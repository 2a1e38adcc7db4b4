import { PatchVdiError } from '../errors.js';

/** An error of kind `image` about a structure at a place, in bytes. */
export function corrupt(structure: string, offset: number, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('image', `${structure} is damaged`, {
    context: { operation: `read ${structure}`, offset, found, expected },
  });
}

/** Text from an image may be of any length; a message about it is not. */
const MAX_SHOWN_CHARACTERS = 64;

/** Text from an image, for messages: short, everything but printable ASCII escaped. */
export function printable(text: string): string {
  const shown = text
    .slice(0, MAX_SHOWN_CHARACTERS)
    .replaceAll(/[^ -~]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  // Escaped, a character takes up to six.
  const cut = text.length > MAX_SHOWN_CHARACTERS || shown.length > MAX_SHOWN_CHARACTERS;
  return cut ? `${shown.slice(0, MAX_SHOWN_CHARACTERS)}...` : shown;
}
