import type { Command } from 'commander';
import { PatchVdiError } from '../errors.js';

/** What the help calls the values that name something outside: as a path, an empty one is the folder one is in. */
const NAMES_A_PLACE = /<(?:file|folder)\b/;

function refuse(at: string): never {
  throw new PatchVdiError('usage', 'a name is empty', {
    context: { path: at, found: '""', expected: 'a name' },
    hint: 'in a script: is the variable set?',
  });
}

/**
 * An empty name is a variable that a script has not set. No argument of ours may be empty, and no option that names a
 * file.
 *
 * @throws PatchVdiError `usage`
 */
export function refuseEmptyNames(command: Command): void {
  for (const option of command.options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    if (NAMES_A_PLACE.test(option.flags) && [value].flat().includes('')) refuse(option.long ?? option.flags);
  }
  for (const [index, argument] of command.registeredArguments.entries()) {
    const value: unknown = command.processedArgs[index];
    if ([value].flat().includes('')) refuse(`<${argument.name()}>`);
  }
}
