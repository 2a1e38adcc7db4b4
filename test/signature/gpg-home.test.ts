import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drive, refusal, words } from './drive.js';
import { OpenPgpBench, type BenchKey } from './openpgp-bench.js';

let bench: OpenPgpBench;
let alice: BenchKey;
let bob: BenchKey;
let byAlice: Buffer;
let byBob: Buffer;
/** Files that gpg itself made, each with one key. */
let aliceKeybox: string;
let bobLegacy: string;
let homes = 0;

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  bob = bench.key('Bob <bob@example.org>', 'rsa2048');
  byAlice = bench.sign('hello', [alice]);
  byBob = bench.sign('hello', [bob]);
  aliceKeybox = join(home(), 'pubring.kbx');
  gpgIn(join(aliceKeybox, '..'), ['--import', bench.keyring([alice])]);
  bobLegacy = join(home(), 'pubring.gpg');
  gpgIn(join(bobLegacy, '..'), [
    '--no-default-keyring',
    '--keyring',
    `gnupg-ring:${bobLegacy}`,
    '--import',
    bench.keyring([bob]),
  ]);
});

afterAll(() => bench.close());

/** A new folder with copies of these files. */
function home(files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const folder = join(bench.folder, `home${(homes += 1)}`);
  mkdirSync(folder, { mode: 0o700 });
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === 'string') copyFileSync(content, join(folder, name));
    else writeFileSync(join(folder, name), content);
  }
  return folder;
}

function gpgIn(folder: string, args: readonly string[]): string {
  const env = { PATH: process.env['PATH'], LC_ALL: 'C' };
  const ended = spawnSync('gpg', ['--batch', '--homedir', folder, ...args], { env, encoding: 'utf8' });
  if (ended.status !== 0) throw new Error(ended.stderr);
  return ended.stdout;
}

/** Which keys the real gpg sees in a home; on a copy, because gpg writes into its home. */
function keysThatGpgSees(folder: string): string[] {
  const copy = home(Object.fromEntries(readdirSync(folder).map((name) => [name, join(folder, name)])));
  const listing = gpgIn(copy, ['--with-colons', '--list-keys']);
  return [...listing.matchAll(/^fpr:+([0-9A-F]+):/gm)].map((match) => match[1] ?? '');
}

const verify = (upload: Uint8Array, path: string) =>
  drive(upload, { keyrings: [path] }, { temporaryFolder: bench.temporaryFolder });

async function accepted(path: string): Promise<string[]> {
  const fingerprints: string[] = [];
  for (const [upload, key] of [
    [byAlice, alice],
    [byBob, bob],
  ] as const) {
    const outcome = await verify(upload, path).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome.message).toContain('not in the keyring');
    else fingerprints.push(key.fingerprint);
  }
  return fingerprints;
}

async function refused(path: string): Promise<string> {
  const error = await refusal(verify(byAlice, path));
  expect(error.kind).toBe('usage');
  return words(error);
}

/** A keybox without the flag that says it is gpg's own, as gpgsm makes them. */
function unflagged(keybox: Buffer): Buffer {
  const copy = Buffer.from(keybox);
  copy.writeUInt16BE(0, 6);
  return copy;
}

describe('a home folder', () => {
  it('has a keybox', async () => {
    const folder = home({ 'pubring.kbx': aliceKeybox });
    expect(await accepted(folder)).toEqual([alice.fingerprint]);
    expect(keysThatGpgSees(folder)).toEqual([alice.fingerprint]);
    expect(await accepted(`${folder}/`)).toEqual([alice.fingerprint]);
  });

  it('has a legacy keyring, with trust packets', async () => {
    const folder = home({ 'pubring.gpg': bobLegacy });
    // Old packet format, tag 12.
    expect(readFileSync(bobLegacy).includes(Buffer.of(0xb0, 0x0c))).toBe(true);
    expect(await accepted(folder)).toEqual([bob.fingerprint]);
    expect(keysThatGpgSees(folder)).toEqual([bob.fingerprint]);
  });

  it('has both: the same keys count as for gpg', async () => {
    const both = home({ 'pubring.kbx': aliceKeybox, 'pubring.gpg': bobLegacy });
    expect(keysThatGpgSees(both)).toEqual([alice.fingerprint]);
    expect(await accepted(both)).toEqual([alice.fingerprint]);

    const foreign = unflagged(readFileSync(aliceKeybox));
    const old = home({ 'pubring.kbx': foreign, 'pubring.gpg': bobLegacy });
    expect(keysThatGpgSees(old)).toEqual([bob.fingerprint]);
    expect(await accepted(old)).toEqual([bob.fingerprint]);

    // Each can be named itself.
    expect(await accepted(join(both, 'pubring.gpg'))).toEqual([bob.fingerprint]);
  });

  it('is linked to', async () => {
    const folder = home({ 'pubring.kbx': aliceKeybox });
    const link = join(bench.folder, 'link-to-home');
    symlinkSync(folder, link);
    expect(await accepted(link)).toEqual([alice.fingerprint]);
  });

  it('is the home of a running gpg, which may hold its locks', async () => {
    const folder = home({ 'pubring.kbx': aliceKeybox });
    writeFileSync(join(folder, 'pubring.kbx.lock'), `${process.pid}\n`);
    expect(await accepted(folder)).toEqual([alice.fingerprint]);
  });

  it('is left as it was', async () => {
    const folder = home({
      'pubring.kbx': aliceKeybox,
      'pubring.gpg': bobLegacy,
      'secring.gpg': Buffer.from('x'),
    });
    const look = () =>
      ['.', ...readdirSync(folder)].map((name) => {
        const { mtimeMs, ctimeMs, size, ino } = statSync(join(folder, name));
        return { name, mtimeMs, ctimeMs, size, ino };
      });
    const before = look();
    await verify(byAlice, folder);
    expect(look()).toEqual(before);
  });

  it('has neither', async () => {
    const folder = home({ 'trustedkeys.gpg': bobLegacy });
    const says = await refused(folder);
    expect(says).toContain('the folder is not the home of a gpg');
    expect(says).toContain('neither pubring.kbx nor pubring.gpg');
  });

  it('has something else under these names', async () => {
    const nested = home();
    mkdirSync(join(nested, 'pubring.kbx'));
    expect(await refused(nested)).toContain('is a folder');
    expect(await refused(home({ 'pubring.gpg': Buffer.from('hello') }))).toContain('not a file of OpenPGP');
    expect(await refused(home({ 'pubring.gpg': new Uint8Array() }))).toContain('the keyring is empty');
  });
});

describe('a keybox', () => {
  it('as a file, gpgsm or gpg made it', async () => {
    expect(await accepted(aliceKeybox)).toEqual([alice.fingerprint]);
    expect(await accepted(bench.file(unflagged(readFileSync(aliceKeybox))))).toEqual([alice.fingerprint]);
  });

  it('that is cut off anywhere is refused', async () => {
    const bytes = readFileSync(aliceKeybox);
    for (const length of [12, 20, 31, 32, 33, 36, 40, bytes.length - 1]) {
      expect(await refused(bench.file(bytes.subarray(0, length))), `${length} bytes`).toMatch(
        /damaged or cut off|holds no OpenPGP key/,
      );
    }
    // Shorter than its magic it is anything.
    expect(await refused(bench.file(bytes.subarray(0, 11)))).toContain('not a file of OpenPGP');
  });

  it('with impossible lengths or types is refused', async () => {
    const bytes = readFileSync(aliceKeybox);
    const changed = (offset: number, value: number): string => {
      const copy = Buffer.from(bytes);
      copy.writeUInt32BE(value, offset);
      return bench.file(copy);
    };
    for (const length of [0, 4, 31, 0x7fffffff]) {
      expect(await refused(changed(0, length))).toContain('damaged or cut off');
    }
    for (const length of [0, 4, 0x7fffffff, 0xffffffff]) {
      expect(await refused(changed(32, length))).toContain('damaged or cut off');
    }
    const noHeader = Buffer.from(bytes);
    noHeader[4] = 2;
    expect(await refused(bench.file(noHeader))).toContain('does not start with a header');
    const certificates = Buffer.from(bytes);
    certificates[32 + 4] = 3;
    expect(await refused(bench.file(certificates))).toContain('holds no OpenPGP key');
  });
});
