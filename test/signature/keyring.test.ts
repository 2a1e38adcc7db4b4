import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CraftedKey, literal } from './craft.js';
import { drive, refusal, words } from './drive.js';
import { OpenPgpBench, splice, type BenchKey } from './openpgp-bench.js';

let bench: OpenPgpBench;
let alice: BenchKey;
let bob: BenchKey;
let byAlice: Buffer;
let byBob: Buffer;
let armored: string;

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  bob = bench.key('Bob <bob@example.org>', 'rsa2048');
  byAlice = bench.sign('hello', [alice]);
  byBob = bench.sign('hello', [bob]);
  armored = bench.gpg(['--armor', '--export', alice.fingerprint]).toString();
});

afterAll(() => bench.close());

const verify = (upload: Uint8Array, ...keyrings: string[]) =>
  drive(upload, { keyrings }, { temporaryFolder: bench.temporaryFolder });

async function refused(content: Uint8Array | string): Promise<string> {
  const error = await refusal(verify(byAlice, bench.file(content)));
  expect(error.kind).toBe('usage');
  return words(error);
}

describe('keyrings that work', () => {
  it('binary, several, and a relative path', async () => {
    const [a, b] = [bench.keyring([alice]), bench.keyring([bob])];
    await verify(byAlice, a, b);
    await verify(byBob, a, b);
    const before = process.cwd();
    process.chdir(bench.folder);
    try {
      await verify(byBob, a.slice(bench.folder.length + 1), b);
    } finally {
      process.chdir(before);
    }
  });

  it('armoured, with CRLF, without checksum, with text around, several blocks in a file', async () => {
    const second = bench.gpg(['--armor', '--export', bob.fingerprint]).toString();
    const files = [
      armored,
      armored.replaceAll('\n', '\r\n'),
      armored.replace(/^=.{4}\n/m, ''),
      armored.replace('BLOCK-----\n', 'BLOCK-----\nVersion: GnuPG v1.4.7\nComment: old\n'),
      `\ufeffThe following key was used\n\n${armored}\nand nothing else`,
      `${second}\n\n${armored}`,
    ];
    for (const file of files) await verify(byAlice, bench.file(file));
    await verify(byBob, bench.file(`${armored}${second}`));
  });

  it('gpg itself says No public key for an armoured keyring, which is why it is dearmoured', () => {
    expect(bench.gpgv(byAlice, bench.file(armored)).status).toContain('NO_PUBKEY');
  });

  it("gpg's own pubring.kbx", async () => {
    await verify(byAlice, join(bench.home, 'pubring.kbx'));
  });

  it('a key that gpg did not make', async () => {
    const key = new CraftedKey('Crafted');
    const upload = Buffer.concat([key.onePass(), literal('x'), key.version3(Buffer.from('x'))]);
    await verify(upload, bench.file(key.keyring()));
  });
});

describe('keyrings that do not', () => {
  it('cannot be read, or is an empty folder', async () => {
    const folder = join(bench.folder, 'folder');
    mkdirSync(folder);
    for (const [path, says] of [
      ['/nonexistent/keyring', 'cannot be read | ENOENT'],
      [folder, 'not the home of a gpg'],
      ['/dev/zero', 'too large'],
    ] as const) {
      const error = await refusal(verify(byAlice, path));
      expect(error.kind).toBe('usage');
      expect(error.context.path).toBe(path);
      expect(words(error)).toContain(says);
    }
  });

  it('is empty, text, or something else', async () => {
    expect(await refused('')).toContain('the keyring is empty');
    expect(await refused('hello\n')).toContain('not a file of OpenPGP public keys | bytes 68 65');
    expect(await refused(byAlice)).toContain('not a file of OpenPGP public keys | a Compressed Data packet');
    expect(await refused(bench.detach('x', [alice]))).toContain('a Signature packet');
    expect(await refused(bench.sign('x', [alice], '--armor'))).toContain('an armoured MESSAGE');
    expect(await refused('-----BEGIN PGP ')).toContain('incomplete armour header line');
  });

  it('holds a secret key', async () => {
    const secret = bench.gpg(['--export-secret-keys', alice.fingerprint]);
    const blocks = bench.gpg(['--armor', '--export-secret-keys', alice.fingerprint]).toString();
    const both = Buffer.concat([bench.gpg(['--export', bob.fingerprint]), secret]);
    for (const content of [secret, blocks, `${armored}${blocks}`, both]) {
      expect(await refused(content)).toContain('contains a secret key');
    }
  });

  it('is cut off or damaged', async () => {
    const binary = bench.gpg(['--export', alice.fingerprint]);
    expect(await refused(binary.subarray(0, -1))).toContain('ends within');
    expect(await refused(splice(binary, 0, Buffer.of(0), 1))).toContain('not a file of OpenPGP');
    expect(await refused(Buffer.concat([binary, Buffer.from('text')]))).toContain('no OpenPGP packet');
    expect(await refused(Buffer.concat([binary, literal('x')]))).toContain('a Literal Data packet');
  });

  it('has damaged armour', async () => {
    const lines = armored.split('\n');
    const data = lines.findIndex((line) => line === '') + 1;
    const without = (line: number) => lines.toSpliced(line, 1).join('\n');
    const changed = (line: number, text: string) => lines.toSpliced(line, 1, text).join('\n');
    const line = lines[data] ?? '';
    expect(await refused(without(data - 1))).toContain('blank line');
    expect(await refused(without(data))).toContain('checksum');
    expect(await refused(changed(data, line.slice(1)))).toContain('base64 data in groups of four');
    expect(await refused(changed(data, `${line.slice(1)}\u001b`))).toContain('\\x1b');
    expect(await refused(changed(data, `${line.slice(0, -1)}-`))).toContain(
      'damaged armoured PUBLIC KEY BLOCK',
    );
    expect(await refused(lines.slice(0, -2).join('\n'))).toContain('the end of the file');
    expect(await refused(armored.replace('END PGP PUBLIC', 'END PGP PRIVATE'))).toContain('END PGP PUBLIC');
    expect(await refused(lines.slice(0, data).join('\n'))).toContain('damaged');
  });
});
