import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ATTACKS,
  CONTENT,
  GOOD,
  LITERAL,
  ONE_PASS,
  SIGNATURE,
  compressed,
  compressedToTheEnd,
  idOctets,
  mallory,
  message,
  onePass,
} from './container-attacks.js';
import { literal } from './craft.js';
import { drive, refusal, words } from './drive.js';
import { flip, OpenPgpBench, packet, splice } from './openpgp-bench.js';

/** Every byte of the container that no signature covers; gpgv's own opinion beside ours. */
let bench: OpenPgpBench;
let keyring: string;

beforeAll(() => {
  bench = new OpenPgpBench();
  keyring = bench.file(mallory.keyring());
});

afterAll(() => bench.close());

const verify = (upload: Uint8Array, chunks = Math.max(1, upload.length)) =>
  drive(upload, { keyrings: [keyring] }, { temporaryFolder: bench.temporaryFolder, chunks });

describe('unsigned bytes in the container', () => {
  it('the good ones are accepted, or nothing here would mean anything', async () => {
    const zlib = packet(8, 2, deflateSync(GOOD));
    const twice = message(mallory.onePass(0), GOOD, SIGNATURE);
    const version3 = message(ONE_PASS, LITERAL, mallory.version3(CONTENT));
    for (const upload of [GOOD, compressed(GOOD), compressedToTheEnd(GOOD), zlib, twice, version3]) {
      const { signatures } = await verify(upload);
      expect(signatures[0]?.primaryFingerprint).toBe(mallory.fingerprint);
    }
  });

  for (const { name, upload, says, gpgvAccepts = false } of ATTACKS) {
    it(name, async () => {
      for (const chunks of [upload.length, upload.length < 2000 ? 1 : 4096]) {
        const error = await refusal(verify(upload, chunks));
        expect(words(error)).toContain(says);
        expect(error.kind).toBe('signature');
      }
      // gpgv alone needs more than 10 s for 100000 one-pass packets.
      if (gpgvAccepts === 'not asked') return;
      const opinion = bench.gpgv(upload, keyring);
      const accepts = opinion.exitCode === 0 && opinion.status.includes('VALIDSIG');
      expect(accepts, `gpgv: ${opinion.exitCode} ${opinion.status}`).toBe(gpgvAccepts);
    });
  }
});

describe('unsigned fields that change nothing', () => {
  const HARMLESS: readonly (readonly [string, Buffer])[] = [
    ['literal name', message(ONE_PASS, literal(CONTENT, '\u001b]0;owned\u0007'), SIGNATURE)],
    ['literal date', message(ONE_PASS, flip(LITERAL, 6 + 2 + 4), SIGNATURE)],
    ['one-pass key id', message(flip(ONE_PASS, 6 + 4), LITERAL, SIGNATURE)],
    ['one-pass public-key algorithm', message(onePass(3, 0, 8, 17, ...idOctets, 1), LITERAL, SIGNATURE)],
    ['left 16 bits of the digest (RSA)', message(ONE_PASS, LITERAL, flip(SIGNATURE, SIGNATURE.length - 260))],
  ];

  it.each(HARMLESS)('%s: gpgv says VALIDSIG and puts out what was signed', async (_, upload) => {
    const { signatures } = await verify(upload);
    expect(signatures).toHaveLength(1);
    const { clearText, status } = bench.gpgv(upload, keyring);
    expect(status).toContain('VALIDSIG');
    expect(clearText).toEqual(CONTENT);
  });

  it("why format 't' is refused: gpgv says VALIDSIG and puts out other bytes", () => {
    const content = 'a\r\nb\r\n';
    const upload = message(ONE_PASS, literal(content, '', 't'), mallory.version4(Buffer.from(content)));
    const { clearText, status, exitCode } = bench.gpgv(upload, keyring);
    expect([exitCode, status.includes('VALIDSIG')]).toEqual([0, true]);
    expect(clearText?.toString()).toBe('a\nb\n');
  });
});

describe('tampering', () => {
  const signed = message(ONE_PASS, LITERAL);
  const clearStart = ONE_PASS.length + 6 + 6 + 4;
  const middle = clearStart + (CONTENT.length >> 1);

  it.each([
    ['first byte', clearStart],
    ['middle byte', middle],
    ['last byte', signed.length - 1],
  ])('%s of the clear text', async (_, offset) => {
    const upload = flip(GOOD, offset);
    expect(words(await refusal(verify(upload)))).toContain('BAD signature');
    expect(words(await refusal(verify(compressed(upload))))).toContain('BAD signature');
    expect(bench.gpgv(upload, keyring).status).toContain('BADSIG');
  });

  it.each([
    ['first byte', 20],
    ['middle byte', 128],
    ['last byte', 255],
  ])('%s of the signature', async (_, offset) => {
    const upload = flip(GOOD, GOOD.length - 256 + offset);
    expect(words(await refusal(verify(upload)))).toContain('BAD signature');
  });

  it('the time in the signature', async () => {
    const upload = flip(GOOD, signed.length + 6 + 6 + 2 + 3);
    expect(words(await refusal(verify(upload)))).toContain('BAD signature');
  });

  it('a byte of content more or less', async () => {
    const more = message(ONE_PASS, literal(message(CONTENT, Buffer.of(0)), 'name'), SIGNATURE);
    const less = message(ONE_PASS, literal(CONTENT.subarray(1), 'name'), SIGNATURE);
    for (const upload of [more, less]) {
      expect(words(await refusal(verify(upload)))).toContain('BAD signature');
    }
  });

  it('the content of the message in the name of the file', async () => {
    const upload = message(ONE_PASS, literal('', CONTENT), SIGNATURE);
    expect(words(await refusal(verify(upload)))).toContain('BAD signature');
  });
});

describe('truncation', () => {
  const boundaries = [0, ONE_PASS.length, ONE_PASS.length + LITERAL.length];
  const lengths = [
    ...boundaries,
    ...boundaries.map((at) => at + 1),
    ...boundaries.map((at) => at + 9),
    GOOD.length - 1,
  ];

  it.each(lengths)('to %i bytes', async (length) => {
    const error = await refusal(verify(GOOD.subarray(0, length)));
    expect(error.kind).toBe('signature');
    expect(words(error)).toMatch(/ends within|cut off|no bytes at all/);
  });

  it.each([1, 2, 6, 7, 8, 30, 200, compressed(GOOD).length - 1])(
    'compressed, to %i bytes',
    async (length) => {
      for (const whole of [compressed(GOOD), compressedToTheEnd(GOOD)]) {
        const error = await refusal(verify(whole.subarray(0, Math.min(length, whole.length - 1))));
        expect(error.kind).toBe('signature');
        expect(words(error)).toMatch(/ends within|cut off|empty Compressed/);
      }
    },
  );

  it('a missing byte within', async () => {
    const error = await refusal(verify(splice(GOOD, ONE_PASS.length + 20, '', 1)));
    expect(error.kind).toBe('signature');
  });
});
