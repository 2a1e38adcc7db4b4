import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { similarName } from '../similar.js';

/** What people name objects by. */
export interface NamedRecord {
  readonly uuid: string;
  readonly name_label: string;
}

/** So short a start of a uuid could be a name, or a slip. */
const MIN_PREFIX_CHARACTERS = 4;
const MAX_LISTED = 8;

function described({ uuid, name_label }: NamedRecord): string {
  return printable(name_label === '' ? uuid : `${uuid} (${name_label})`, 100);
}

function list(records: readonly NamedRecord[]): string {
  const more = records.length > MAX_LISTED ? `, and ${records.length - MAX_LISTED} more` : '';
  return `${records.slice(0, MAX_LISTED).map(described).join(', ')}${more}`;
}

function matches<Record extends NamedRecord>(
  all: readonly (readonly [string, Record])[],
  wanted: string,
): (readonly [string, Record])[] {
  const uuid = wanted.toLowerCase();
  const exact = all.filter(([, record]) => record.uuid.toLowerCase() === uuid);
  if (exact.length > 0) return exact;
  const isPrefix = wanted.length >= MIN_PREFIX_CHARACTERS && /^[0-9a-f-]+$/.test(uuid);
  return all.filter(
    ([, record]) => record.name_label === wanted || (isPrefix && record.uuid.toLowerCase().startsWith(uuid)),
  );
}

/** Whether any object is called so, as {@link findObject} looks for it. */
export function isCalled(records: Readonly<{ [ref: string]: NamedRecord }>, wanted: string): boolean {
  return matches(Object.entries(records), wanted).length > 0;
}

/**
 * The one object that is called so: by its uuid, by the start of it (four characters or more) if no other begins like
 * that, or by its name if no other has it.
 *
 * @param what for messages: `patch`
 * @param command lists them
 * @returns its reference and record
 * @throws PatchVdiError `usage`
 */
export function findObject<Record extends NamedRecord>(
  what: string,
  records: Readonly<{ [ref: string]: Record }>,
  wanted: string,
  command: string,
): readonly [ref: string, record: Record] {
  const all = Object.entries(records);
  const found = matches(all, wanted);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const name = printable(wanted, 100);
  if (only === undefined) {
    const similar = similarName(
      wanted,
      all.map(([, { name_label }]) => name_label),
    );
    const maybe = similar === undefined ? '' : `did you mean ${printable(similar, 100)}? `;
    throw new PatchVdiError('usage', `there is no ${what} called "${name}"`, {
      context: {
        found:
          all.length === 0 ? `no ${what} at all` : `other ones: ${list(all.map(([, record]) => record))}`,
        expected: 'a uuid, the start of one (4 characters or more), or a name',
      },
      hint: `${maybe}${command} lists them`,
    });
  }
  throw new PatchVdiError('usage', `more than one ${what} could be meant by ${name}`, {
    context: { found: list(found.map(([, record]) => record)), expected: 'one' },
    hint: 'give the whole uuid',
  });
}
