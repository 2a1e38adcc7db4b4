import { Command } from 'commander';
import { checkEpoch } from '../build/identity.js';
import { PatchVdiError } from '../errors.js';
import { KEY_FILES, makeKeyFolder } from '../kit/key-folder.js';
import { parseSeed, randomSeed } from '../kit/seed.js';
import { checkLifetime, fingerprintText, makeTestKey, type TestKey } from '../kit/test-key.js';
import { isTooLongForSockets } from '../tools/gpg.js';
import { join, resolve } from 'node:path';
import { environmentOfProcess, sourceDateEpoch } from './environment.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

interface RawKeyOptions {
  readonly output: string;
  readonly seed?: string;
  readonly userId?: string;
  readonly expires?: string;
  readonly sourceDateEpoch?: string;
  readonly json?: boolean;
}

const NOTES = `
The folder is a private GNUPGHOME; keyring.gpg in it is the public key. Without
--source-date-epoch the key is of 2020-01-01. It is good for tests only: with
--seed, everybody can make the same key.`;

/** A date, or seconds, as seconds after the key's creation. */
function lifetime(text: string | undefined, createdAt: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  const milliseconds = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  // A date such as 2023-02-30 is taken for one in March by some; so it must come out as it went in.
  const isDate = !Number.isNaN(milliseconds) && new Date(milliseconds).toISOString().startsWith(text);
  if (isDate) return milliseconds / 1000 - createdAt;
  throw new PatchVdiError('usage', '--expires is neither a number of seconds nor a date', {
    context: { found: JSON.stringify(text), expected: 'seconds after its creation, or YYYY-MM-DD' },
  });
}

function shellWord(text: string): string {
  return /^[\w./@+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function keyLines(folder: string, key: TestKey, expires: string | undefined, columns: number): string[] {
  const [home, keyring] = [shellWord(folder), shellWord(join(folder, KEY_FILES.keyring))];
  return [
    'made a test key, which is good for nothing but tests',
    ...fieldLines(
      [
        ['folder', folder],
        ['fingerprint', fingerprintText(key)],
        ['user ID', key.userId],
        ['created', new Date(key.createdAt * 1000).toISOString()],
        ['expires', expires ?? 'never'],
        ['keyring', join(folder, KEY_FILES.keyring)],
        [
          'note',
          isTooLongForSockets(resolve(folder))
            ? 'gpg itself may be unable to sign with it here: the path is too long for the sockets of its agent'
            : undefined,
        ],
      ],
      columns,
    ),
    'use it:',
    `  patch-vdi test patch -o t.xsupdate --size 200M --sign ${home}`,
    `  patch-vdi build t.xsupdate -o t.vhd --keyring ${keyring}`,
    `  gpg --homedir ${home} --sign FILE`,
  ];
}

async function testKey(raw: RawKeyOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const createdAt = checkEpoch(sourceDateEpoch(raw.sourceDateEpoch));
  const seed = raw.seed === undefined ? randomSeed() : parseSeed(raw.seed);
  const key = makeTestKey({ seed, userId: raw.userId, createdAt });
  const expiresAfterSeconds = lifetime(raw.expires, key.createdAt);
  checkLifetime(key.createdAt, expiresAfterSeconds);
  await makeKeyFolder({
    path: raw.output,
    key,
    expiresAfterSeconds,
    environment: environmentOfProcess(),
    abortSignal: context.interrupts.signal,
  });
  const expires =
    expiresAfterSeconds === undefined
      ? undefined
      : new Date((key.createdAt + expiresAfterSeconds) * 1000).toISOString();
  if (raw.json === true) {
    context.printJson({
      ok: true,
      folder: raw.output,
      keyring: join(raw.output, KEY_FILES.keyring),
      fingerprint: fingerprintText(key),
      userId: key.userId,
      createdAt: key.createdAt,
      expiresAt: expiresAfterSeconds === undefined ? null : key.createdAt + expiresAfterSeconds,
    });
  } else {
    process.stdout.write(`${keyLines(raw.output, key, expires, columnsOf(process.stdout)).join('\n')}\n`);
  }
}

export function testKeyCommand(context: CommandContext): Command {
  return new Command('key')
    .summary('make a throw-away signing key')
    .description('Makes a folder with an RSA key to sign test patches with, its keyring, and a home for gpg.')
    .requiredOption('-o, --output <folder>', 'the folder; must not exist')
    .option('--seed <number>', 'same seed, same key; default: random')
    .option('--user-id <text>', 'name of the key')
    .option('--expires <when>', 'seconds after its creation, or YYYY-MM-DD; default: never')
    .option('--source-date-epoch <seconds>', 'when the key is said to have been made')
    .option('--json', 'print one object')
    .addHelpText('after', NOTES)
    .action((raw: RawKeyOptions) => testKey(raw, context));
}
