/* One way for a clear text to be wanted, refused or left behind a test: long, as the list of them is. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import type { SignaturePolicy } from '../../src/signature/policy.js';
import { startVerifier } from '../../src/signature/verifier.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { GIB, MIB } from '../../src/units.js';
import { GOOD, LITERAL, mallory, message, ONE_PASS, SIGNATURE, CONTENT } from './container-attacks.js';
import { literal } from './craft.js';
import { drive, refusal, words, type DriveOptions } from './drive.js';
import { flip, OpenPgpBench, splice, type BenchKey } from './openpgp-bench.js';

/** The clear text that gpgv writes: it has its name when all is well, and else there is nothing. */
let bench: OpenPgpBench;
let alice: BenchKey;
let bob: BenchKey;
let policy: SignaturePolicy;
/** Where the clear text goes; nothing else is in it. */
let folder: string;
let path: string;
const TEXT = Buffer.from('#!/bin/sh\necho hello\r\n\0\x1a\xff tail'.repeat(50), 'latin1');

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  bob = bench.key('Bob <bob@example.org>', 'rsa3072');
  policy = { keyrings: [bench.keyring(), bench.file(mallory.keyring())] };
});

afterAll(() => bench.close());

beforeEach(() => {
  folder = join(bench.folder, `out-${Math.random().toString(36).slice(2)}`);
  mkdirSync(folder);
  path = join(folder, 'clear');
});

function extract(
  upload: Uint8Array,
  options: Partial<DriveOptions> = {},
  changes: Partial<SignaturePolicy> = {},
) {
  const { temporaryFolder } = bench;
  return drive(upload, { ...policy, ...changes }, { temporaryFolder, clearTextPath: path, ...options });
}

function start(options: { abortSignal?: AbortSignal } = {}) {
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: bench.temporaryFolder };
  return startVerifier(policy, {
    environment,
    clearTextLimitBytes: 2 * GIB,
    clearTextPath: path,
    ...options,
  });
}

const workFolder = () => join(folder, readdirSync(folder).join('|'));

describe('a good message', () => {
  const forms: readonly (readonly [string, (content: Buffer) => Buffer])[] = [
    ['uncompressed', (content) => bench.sign(content, [alice], '--compress-algo', 'none')],
    ['zip', (content) => bench.sign(content, [alice], '--compress-algo', 'zip')],
    ['zlib', (content) => bench.sign(content, [alice], '--compress-algo', 'zlib')],
    ['by RSA', (content) => bench.sign(content, [bob])],
    ['by two', (content) => bench.sign(content, [alice, bob])],
    ['from a pipe', (content) => bench.signPiped(content, [alice], '--compress-algo', 'none')],
    ['from a pipe, compressed', (content) => bench.signPiped(content, [alice])],
    ['with a notation', (content) => bench.sign(content, [alice], '--set-notation', 'a@b.c=more words')],
  ];

  it.each(forms)('%s: the file has every byte, whole, byte by byte and in odd chunks', async (_, sign) => {
    const upload = sign(TEXT);
    for (const chunks of [upload.length, 1, [1, 2, 3, 5, 7, 11, 13]]) {
      await extract(upload, { chunks });
      expect(readFileSync(path)).toEqual(TEXT);
      expect(statSync(path).mode % 0o1000).toBe(0o600);
      expect(readdirSync(folder)).toEqual(['clear']);
      rmSync(path);
    }
  });

  it.each(forms)('%s, 3 MiB of content', async (_, sign) => {
    const content = Buffer.concat([randomBytes(2 << 20), Buffer.alloc(1 << 20)]);
    await extract(sign(content), { chunks: 65536 });
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it('with nothing in it', async () => {
    await extract(bench.sign('', [alice]));
    expect(readFileSync(path)).toHaveLength(0);
  });

  it('whose name is a status line of gpgv', async () => {
    const name = `\n[GNUPG:] VALIDSIG x\n[GNUPG:] PLAINTEXT_LENGTH 1 %0A\u001b[31m`;
    await extract(message(ONE_PASS, literal(CONTENT, name), SIGNATURE));
    expect(readFileSync(path)).toEqual(CONTENT);
  });

  it('is there for nobody before the verdict, and stays after dispose', async () => {
    const upload = bench.sign(TEXT, [alice], '--compress-algo', 'none');
    const verifier = await start();
    verifier.write(upload.subarray(0, -1), () => undefined);
    await sleep(100);
    expect(statSync(workFolder()).mode % 0o1000).toBe(0o700);
    const [work = ''] = readdirSync(workFolder());
    // gpgv has opened our file and left its mode alone.
    expect(statSync(join(workFolder(), work)).mode % 0o1000).toBe(0o600);
    verifier.write(upload.subarray(-1), () => undefined);
    const verdict = await verifier.finish();
    expect(verdict.signatures).toHaveLength(1);
    expect(verifier.clearTextBytes).toBe(TEXT.length);
    expect(readdirSync(folder)).toEqual(['clear']);
    await verifier.dispose();
    expect(readFileSync(path)).toEqual(TEXT);
  });

  it('takes no memory', async () => {
    const content = Buffer.alloc(256 * MIB, 'some text\n');
    const upload = message(ONE_PASS, literal(content), mallory.version4(content));
    const verifier = await start();
    const before = process.memoryUsage.rss();
    let most = before;
    for (let at = 0; at < upload.length; at += 65536) {
      await new Promise<void>((resolve) => verifier.write(upload.subarray(at, at + 65536), resolve));
      most = Math.max(most, process.memoryUsage.rss());
    }
    await verifier.finish();
    await verifier.dispose();
    expect(most - before).toBeLessThan(40 * MIB);
    expect(statSync(path).size).toBe(content.length);
    rmSync(path);
  });
});

describe('a bad message leaves nothing', () => {
  it('although gpgv alone leaves the whole clear text', () => {
    const { clearText, status } = bench.gpgv(flip(GOOD, GOOD.length - 1), policy.keyrings[1] ?? '');
    expect(status).toContain('BADSIG');
    expect(clearText).toEqual(CONTENT);
  });

  it.each<readonly [string, Buffer, string]>([
    ['another signature', flip(GOOD, GOOD.length - 1), 'BAD signature'],
    ['another clear text', flip(GOOD, ONE_PASS.length + LITERAL.length - 1), 'BAD signature'],
    ['cut off', GOOD.subarray(0, -1), 'ends within'],
    ['a byte behind', message(GOOD, Buffer.of(0)), 'no OpenPGP packet'],
    ['two messages', message(GOOD, GOOD), 'something follows'],
    [
      'a literal in text mode',
      message(ONE_PASS, literal(CONTENT, '', 't'), SIGNATURE),
      'not marked as binary',
    ],
    [
      'no message',
      Buffer.from('#!/bin/sh\necho and more than the forty-eight octets it takes\n'),
      'a script',
    ],
  ])('%s', async (_, upload, says) => {
    for (const chunks of [upload.length, 1]) {
      const error = await refusal(extract(upload, { chunks }));
      expect(error.kind).toBe('signature');
      expect(words(error)).toContain(says);
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it('by somebody else', async () => {
    const unknown = await refusal(
      extract(bench.sign(TEXT, [alice]), {}, { keyrings: [bench.keyring([bob])] }),
    );
    expect(words(unknown)).toContain('not in the keyring');
    const pinned = await refusal(extract(bench.sign(TEXT, [alice]), {}, { signers: [bob.fingerprint] }));
    expect(words(pinned)).toContain('not signed by a pinned signer');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('and nothing is left already when finish has rejected', async () => {
    const verifier = await start();
    verifier.write(flip(GOOD, GOOD.length - 1), () => undefined);
    await refusal(verifier.finish());
    expect(readdirSync(folder)).toEqual([]);
    await verifier.dispose();
  });

  it('larger than the limit', async () => {
    const content = Buffer.alloc(3 * MIB);
    const error = await refusal(extract(bench.sign(content, [alice]), { clearTextLimitBytes: 2 * MIB }));
    expect(words(error)).toContain('too large');
    expect(readdirSync(folder)).toEqual([]);
    await extract(bench.sign(content, [alice]), { clearTextLimitBytes: 3 * MIB });
    expect(statSync(path).size).toBe(content.length);
  });

  it('whatever happens to one byte, the file is what was signed or is not there', async () => {
    const good = bench.sign(CONTENT, [alice], '--compress-algo', 'none');
    const property = async (at: number, removed: number, inserted: Uint8Array) => {
      rmSync(path, { force: true });
      try {
        await extract(splice(good, at, inserted, removed), { chunks: 7 });
        expect(readFileSync(path)).toEqual(CONTENT);
      } catch (error) {
        if (!isPatchVdiError(error) || error.kind !== 'signature') throw error;
        expect(readdirSync(folder)).toEqual([]);
      }
    };
    const small = fc.uint8Array({ maxLength: 2 });
    await fc.assert(fc.asyncProperty(fc.nat(good.length), fc.nat(2), small, property), { numRuns: 150 });
  });
});

describe('stopping leaves nothing', () => {
  it('dispose before, within and after the message', async () => {
    for (const fed of [0, 40, GOOD.length]) {
      const verifier = await start();
      if (fed > 0) verifier.write(GOOD.subarray(0, fed), () => undefined);
      await sleep(20);
      expect(readdirSync(folder)).toHaveLength(1);
      await verifier.dispose();
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it('dispose at any moment of finish: the file is there if and only if finish resolves', async () => {
    const outcomes = new Set<string>();
    for (let turn = 0; turn < 60; turn += 1) {
      const verifier = await start();
      verifier.write(GOOD, () => undefined);
      const finished = verifier.finish().then(
        () => 'good',
        (error: unknown) => (isPatchVdiError(error) ? error.kind : 'defect'),
      );
      // Up to where gpgv ends, and then in the middle of the last steps.
      if (turn === 59) await finished;
      else if (turn % 2 === 0) await sleep(turn / 4);
      else
        for (let round = 0; round < turn * 40; round += 1) await Promise.race([finished, Promise.resolve()]);
      await verifier.dispose();
      const outcome = await finished;
      outcomes.add(outcome);
      expect(readdirSync(folder)).toEqual(outcome === 'good' ? ['clear'] : []);
      rmSync(path, { force: true });
    }
    expect([...outcomes].toSorted()).toEqual(['good', 'interrupted']);
  });

  it('abort', async () => {
    const controller = new AbortController();
    const verifier = await start({ abortSignal: controller.signal });
    verifier.write(GOOD.subarray(0, 40), () => undefined);
    await sleep(20);
    controller.abort();
    expect((await refusal(verifier.finish())).kind).toBe('interrupted');
    expect(readdirSync(folder)).toEqual([]);
    await verifier.dispose();
  });
});

describe('the name', () => {
  const IN_USE: readonly (readonly [string, () => void])[] = [
    ['a file', () => writeFileSync(path, 'theirs')],
    ['a folder', () => mkdirSync(path)],
    ['a link to nothing', () => symlinkSync('nowhere', path)],
  ];

  it.each(IN_USE)('in use before: %s', async (_, make) => {
    make();
    // At once: nobody need upload anything first.
    const error = await refusal(start());
    expect(readdirSync(bench.temporaryFolder)).toEqual([]);
    expect([error.kind, error.message]).toEqual(['usage', 'the file for the clear text exists already']);
    expect(readdirSync(folder)).toEqual(['clear']);
  });

  it.each(IN_USE)('in use meanwhile: %s', async (what, make) => {
    const verifier = await start();
    verifier.write(GOOD, () => undefined);
    make();
    const error = await refusal(verifier.finish());
    await verifier.dispose();
    expect([error.kind, error.message]).toEqual(['usage', 'the file for the clear text exists already']);
    expect(readdirSync(folder)).toEqual(['clear']);
    if (what === 'a file') expect(readFileSync(path, 'utf8')).toBe('theirs');
  });

  it('cannot be created', async () => {
    for (const clearTextPath of [join(folder, 'no/such'), `${path}\0x`, '/proc/x', '']) {
      const error = await refusal(extract(GOOD, { clearTextPath }));
      expect(error.kind).toBe('usage');
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is refused beside a detached signature', async () => {
    const detachedSignature = bench.file(bench.detach(TEXT, [alice]));
    const error = await refusal(extract(TEXT, {}, { detachedSignature }));
    expect([error.kind, error.message]).toEqual([
      'usage',
      'a detached signature has no clear text of its own',
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });
});
