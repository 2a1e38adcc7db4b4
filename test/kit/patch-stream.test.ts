import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { filler, fillerSha256 } from '../../src/kit/filler.js';
import { documentSignature } from '../../src/kit/signing.js';
import { onePassPacket, testKeySigner, type PatchSigner } from '../../src/kit/signer.js';
import { fingerprintText, makeTestKey, publicKeyring } from '../../src/kit/test-key.js';
import { flip, OpenPgpBench, packet } from '../signature/openpgp-bench.js';
import { patchAndSignature, patchInMemory } from './make.js';

const key = makeTestKey({ seed: '7' });
const signer = testKeySigner(key);
const message = { kind: 'message', signer } as const;

let bench: OpenPgpBench;
let keyring: string;
beforeAll(() => {
  bench = new OpenPgpBench();
  keyring = bench.file(publicKeyring(key));
});
afterAll(() => bench.close());

/** What the error of a patch of one byte says is the least. */
async function minimumBytes(signing: Parameters<typeof patchInMemory>[2]): Promise<number> {
  const error: unknown = await patchInMemory({ seed: '7' }, 1, signing).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ kind: 'usage', context: { found: '1 byte' } });
  return Number(/\d+/.exec((error as { context: { expected: string } }).context.expected)?.[0]);
}

describe('a signed message', () => {
  test.for([0, 1, 2, 63, 64, 65, 4095, 4096, 100_000])(
    'of %d bytes more than the least is one to gpgv',
    async (more) => {
      const size = (await minimumBytes(message)) + more;
      const bytes = await patchInMemory({ seed: '7' }, size, message);
      expect(bytes).toHaveLength(size);
      const opinion = bench.gpgv(bytes, keyring);
      expect(opinion.status).toContain(`VALIDSIG ${fingerprintText(key)}`);
      expect(opinion.exitCode).toBe(0);
      expect(opinion.clearText?.toString('latin1')).toMatch(/^#!\/bin\/sh\n/);
    },
  );

  test('cannot have a byte less than the least', async () => {
    const size = (await minimumBytes(message)) - 1;
    await expect(patchInMemory({ seed: '7' }, size, message)).rejects.toMatchObject({ kind: 'usage' });
  });

  test('is refused by gpgv when a byte of its payload changes', async () => {
    const bytes = await patchInMemory({ seed: '7' }, 50_000, message);
    const opinion = bench.gpgv(flip(bytes, 40_000), keyring);
    expect(opinion.exitCode).toBe(1);
    expect(opinion.status).toContain('BADSIG');
  });

  test('has the clear text of the one without a signature, of its own size', async () => {
    const bytes = await patchInMemory({ seed: '7' }, 50_000, message);
    const { clearText } = bench.gpgv(bytes, keyring);
    expect(clearText).toEqual(await patchInMemory({ seed: '7' }, clearText?.length ?? 0));
  });
});

test('the same request makes the same bytes; another seed, time or key others', async () => {
  const make = (seed: string, by = signer) => patchInMemory({ seed }, 9000, { kind: 'message', signer: by });
  const bytes = await make('7');
  expect(await make('7')).toEqual(bytes);
  expect(await make('8')).not.toEqual(bytes);
  expect(await make('7', testKeySigner(key, key.createdAt + 1))).not.toEqual(bytes);
  expect(await make('7', testKeySigner(makeTestKey({ seed: '8' })))).not.toEqual(bytes);
  // Pinned, so that a change of the generator is seen.
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(
    'd417055eb0859045a907a03594b516cfc136a011a234295ab82250c37c657920',
  );
});

test('a signature is never older than its key', () => {
  expect(() => testKeySigner(key, key.createdAt - 1)).toThrow(expect.objectContaining({ kind: 'usage' }));
});

test('every signature has the announced length, those with leading zeros too, and gpgv takes these', () => {
  const documents = Array.from({ length: 700 }, (_, index) => Buffer.from(`document ${index}`));
  const made = documents.map((document) => {
    const hashed = createHash('sha256').update(document);
    return { document, signature: documentSignature(hashed, key.createdAt, key) };
  });
  expect(new Set(made.map(({ signature }) => signature.length))).toEqual(new Set([signer.signatureBytes]));
  // The private subpacket: length 2, type 101, number of the attempt.
  const again = made.filter(({ signature }) => Buffer.from(signature).includes(Buffer.of(2, 101, 1)));
  expect(again.length).toBeGreaterThan(0);
  for (const { document, signature } of again) {
    const onePass = onePassPacket(8, 1, key.fingerprint);
    const literal = packet(11, 'b', 0, Buffer.alloc(4), document);
    expect(bench.gpgv(Buffer.concat([onePass, literal, signature]), keyring).exitCode).toBe(0);
  }
});

describe('a signer that cannot keep to its length', () => {
  /** Shortens the first signatures by a byte. */
  function unreliable(shortAttempts: number): PatchSigner & { seen: Buffer[] } {
    const seen: Buffer[] = [];
    return {
      ...signer,
      seen,
      async start(attempt) {
        const running = await signer.start(attempt);
        const parts: Uint8Array[] = [];
        return {
          update(bytes) {
            parts.push(bytes);
            return running.update(bytes);
          },
          async finish() {
            seen.push(Buffer.concat(parts));
            const signature = await running.finish();
            return attempt < shortAttempts ? signature.subarray(1) : signature;
          },
          dispose: () => running.dispose(),
        };
      },
    };
  }

  test('is asked again, about the same bytes', async () => {
    const by = unreliable(3);
    const bytes = await patchInMemory({ seed: '7' }, 9000, { kind: 'message', signer: by });
    expect(bytes).toEqual(await patchInMemory({ seed: '7' }, 9000, message));
    expect(by.seen).toHaveLength(4);
    expect(new Set(by.seen.map((seen) => seen.toString('base64'))).size).toBe(1);
  });

  test('but not for ever', async () => {
    const made = patchInMemory({ seed: '7' }, 9000, { kind: 'message', signer: unreliable(1000) });
    await expect(made).rejects.toMatchObject({ kind: 'tool' });
  });
});

test('a detached signature covers the file as it is', async () => {
  const made = await patchAndSignature({ seed: '7' }, 9000, { kind: 'detached', signer });
  const { bytes } = made;
  expect(bytes).toEqual(await patchInMemory({ seed: '7' }, 9000));
  const signature = bench.file(made.signature ?? '');
  const verify = (content: Uint8Array) =>
    bench.gpg(['--no-default-keyring', '--keyring', keyring, '--verify', signature, bench.file(content)]);
  verify(bytes);
  expect(() => verify(flip(bytes, 8999))).toThrow(/BAD signature/);
});

describe('the filler', () => {
  const all = async (seed: string, purpose: string, length: number): Promise<Buffer> => {
    const parts: Uint8Array[] = [];
    for await (const part of filler(seed, purpose, length)) parts.push(part);
    return Buffer.concat(parts);
  };

  test.for([0, 1, 15, 16, 17, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 3_000_000])(
    'has %d bytes',
    async (length) => {
      const bytes = await all('7', 'x', length);
      expect(bytes).toHaveLength(length);
      expect(await fillerSha256('7', 'x', length)).toBe(createHash('sha256').update(bytes).digest('hex'));
    },
  );

  test('cannot be compressed, and depends on seed and purpose', async () => {
    const bytes = await all('7', 'x', 100_000);
    expect(gzipSync(bytes).length).toBeGreaterThan(100_000);
    expect(await all('8', 'x', 100_000)).not.toEqual(bytes);
    expect(await all('7', 'y', 100_000)).not.toEqual(bytes);
  });

  test('stops when it is told to', async () => {
    const stop = new AbortController();
    const made = fillerSha256('7', 'x', 2 ** 50, stop.signal);
    setTimeout(() => stop.abort(new Error('enough')), 20);
    await expect(made).rejects.toThrow('enough');
  });
});
