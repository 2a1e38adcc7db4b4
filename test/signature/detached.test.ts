import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drive, refusal, words, type DriveOptions } from './drive.js';
import { OpenPgpBench, packet, splitPackets, splice, type BenchKey } from './openpgp-bench.js';

let bench: OpenPgpBench;
let alice: BenchKey;
let bob: BenchKey;
let ring: string;
const CONTENT = Buffer.concat([Buffer.from('PK\u0003\u0004'), randomBytes(300_000)]);

beforeAll(() => {
  bench = new OpenPgpBench();
  alice = bench.key('Alice <alice@example.org>');
  bob = bench.key('Bob <bob@example.org>', 'rsa2048');
  ring = bench.keyring();
});

afterAll(() => bench.close());

const verify = (upload: Uint8Array, signature: Uint8Array, options: Partial<DriveOptions> = {}) =>
  drive(
    upload,
    { keyrings: [ring], detachedSignature: bench.file(signature, 'upload.sig') },
    { temporaryFolder: bench.temporaryFolder, chunks: 65536, ...options },
  );

async function refused(upload: Uint8Array, signature: Uint8Array): Promise<string> {
  const error = await refusal(verify(upload, signature));
  expect(error.kind).toBe('signature');
  return words(error);
}

describe('good', () => {
  it('binary, armoured, by two', async () => {
    for (const [signature, count] of [
      [bench.detach(CONTENT, [alice]), 1],
      [bench.detach(CONTENT, [bob], '--armor'), 1],
      [bench.detach(CONTENT, [alice, bob]), 2],
    ] as const) {
      expect((await verify(CONTENT, signature)).signatures).toHaveLength(count);
    }
  });

  it('in odd chunks, and of an upload that looks like a message', async () => {
    const upload = bench.sign('hello', [bob]);
    await verify(upload, bench.detach(upload, [alice]), { chunks: [1, 3, 7] });
  });

  it('the content is not parsed, so the clear text limit does not matter', async () => {
    await verify(CONTENT, bench.detach(CONTENT, [alice]), { clearTextLimitBytes: 1 });
  });
});

describe('bad', () => {
  it('for another upload; one byte changed, missing, or more', async () => {
    const signature = bench.detach(CONTENT, [alice]);
    const uploads = [
      Buffer.from('other'),
      Buffer.alloc(0),
      splice(CONTENT, 1000, Buffer.of(CONTENT.readUInt8(1000) ^ 1), 1),
      CONTENT.subarray(0, -1),
      Buffer.concat([CONTENT, Buffer.of(0)]),
    ];
    for (const upload of uploads) expect(await refused(upload, signature)).toContain('BAD signature');
  });

  it('one of two signatures bad', async () => {
    const both = Buffer.concat([bench.detach(CONTENT, [alice]), bench.detach('other', [bob])]);
    expect(await refused(CONTENT, both)).toContain('BAD signature');
  });

  it('of text', async () => {
    expect(await refused(CONTENT, bench.detach(CONTENT, [alice], '--textmode'))).toContain('text-mode');
  });

  it('files that are not detached signatures', async () => {
    const signature = bench.detach(CONTENT, [alice]);
    const armored = bench.detach(CONTENT, [alice], '--armor');
    const cases: readonly (readonly [Uint8Array | string, RegExp])[] = [
      ['', /not a detached signature \| no bytes/],
      ['hello', /not a detached signature \| bytes 68 65/],
      [bench.sign(CONTENT, [alice]), /not a detached signature \| a Compressed Data packet/],
      [bench.sign(CONTENT, [alice], '--compress-algo', 'none'), /a One-Pass Signature packet/],
      [bench.sign('x', [alice], '--armor'), /an armoured MESSAGE/],
      [bench.gpg(['--export', alice.fingerprint]), /a Public-Key packet/],
      [Buffer.concat([armored, armored]), /2 armoured blocks/],
      [Buffer.concat([signature, Buffer.of(0)]), /no OpenPGP packet/],
      [Buffer.concat([signature, packet(10, 'PGP')]), /a Marker packet/],
      [Buffer.concat([signature, packet(11, 'b', 0, Buffer.alloc(4), 'x')]), /a Literal Data packet/],
      [signature.subarray(0, -1), /ends within/],
      [packet(2, splitPackets(signature)[0]?.body ?? '', 'extra'), /behind the end of a signature/],
      [Buffer.concat(Array.from({ length: 17 }, () => signature)), /too many packets/],
      [armored.toString().replace(/^=.*$/m, '=AAAA'), /damaged armoured SIGNATURE \(line \d\) .*checksum/],
    ];
    for (const [bytes, says] of cases)
      expect(await refused(CONTENT, Buffer.from(bytes as string))).toMatch(says);
  });

  it('a file that cannot be read, or is too large, is a usage error', async () => {
    const options = { temporaryFolder: bench.temporaryFolder };
    for (const [detachedSignature, says] of [
      ['/nonexistent.sig', /cannot be read \| ENOENT/],
      [bench.folder, /is a folder/],
      [bench.file(Buffer.alloc(2 << 20)), /too large/],
    ] as const) {
      const error = await refusal(drive(CONTENT, { keyrings: [ring], detachedSignature }, options));
      expect(error.kind).toBe('usage');
      expect(words(error)).toMatch(says);
    }
  });
});
