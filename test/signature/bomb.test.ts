import { constants, deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startVerifier } from '../../src/signature/verifier.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';
import { mallory, message, ONE_PASS } from './container-attacks.js';
import { uint } from './craft.js';
import { refusal, words } from './drive.js';
import { OpenPgpBench } from './openpgp-bench.js';

/** A message of a few MiB that inflates to more than a GiB of clear text. */
let bench: OpenPgpBench;
let keyring: string;

beforeAll(() => {
  bench = new OpenPgpBench();
  keyring = bench.file(mallory.keyring());
});

afterAll(() => bench.close());

const LITERAL_HEADER = Buffer.from('b\0\0\0\0\0');

/** After a full flush deflate data does not refer back, so the same MiB of zeros can be repeated as it is. */
function bomb(header: Buffer, mebibytes: number): Buffer {
  const start = deflateRawSync(header, { finishFlush: constants.Z_FULL_FLUSH });
  const zeros = deflateRawSync(Buffer.alloc(MIB), { finishFlush: constants.Z_FULL_FLUSH });
  return message(Buffer.of(0xa3, 1), start, ...Array.from({ length: mebibytes }, () => zeros));
}

async function feed(upload: Buffer): Promise<{ words: string; takenBytes: number; grownBytes: number }> {
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: bench.temporaryFolder };
  const verifier = await startVerifier(
    { keyrings: [keyring] },
    { environment, clearTextLimitBytes: 64 * MIB },
  );
  const before = process.memoryUsage.rss();
  let most = before;
  let takenBytes = 0;
  try {
    const error = await refusal(
      (async () => {
        for (let at = 0; at < upload.length; at += 4096) {
          await new Promise<void>((resolve) => verifier.write(upload.subarray(at, at + 4096), resolve));
          takenBytes = at;
          most = Math.max(most, process.memoryUsage.rss());
        }
        await verifier.finish();
      })(),
    );
    expect(error.kind).toBe('signature');
    return { words: words(error), takenBytes, grownBytes: most - before };
  } finally {
    await verifier.dispose();
  }
}

it('is refused at the header when that tells the length', async () => {
  const header = message(ONE_PASS, Buffer.of(0xcb, 0xff), uint(1024 * MIB, 4), LITERAL_HEADER);
  const { words: text, takenBytes } = await feed(bomb(header, 1024));
  expect(text).toContain('clear text of the signed message is too large');
  expect(takenBytes).toBeLessThan(64 * 1024);
});

it('is refused as soon as the limit is passed when nothing tells, and takes no memory', async () => {
  const header = message(ONE_PASS, Buffer.of(0xcb, 0xfe), LITERAL_HEADER);
  const upload = bomb(header, 1024);
  const { words: text, takenBytes, grownBytes } = await feed(upload);
  expect(text).toContain('clear text of the signed message is too large | more | at most 64 MiB');
  expect(takenBytes).toBeLessThan(upload.length / 8);
  expect(grownBytes).toBeLessThan(48 * MIB);
});

it('also when the bytes are not in the literal: packets without end, a signature without end', async () => {
  const marker = message(ONE_PASS, Buffer.of(0xcb, 0));
  expect((await feed(bomb(marker, 64))).words).toContain('ends within its header');
  const signature = message(
    ONE_PASS,
    Buffer.of(0xcb, 6),
    LITERAL_HEADER,
    Buffer.of(0xc2, 0xff),
    uint(2 ** 31, 4),
  );
  expect((await feed(bomb(signature, 64))).words).toContain('too large');
});

it('a large clear text below the limit passes', async () => {
  const content = Buffer.alloc(48 * MIB);
  const literalHeader = message(Buffer.of(0xcb, 0xff), uint(content.length + 6, 4), LITERAL_HEADER);
  const whole = deflateRawSync(message(ONE_PASS, literalHeader, content, mallory.version4(content)));
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: bench.temporaryFolder };
  const verifier = await startVerifier(
    { keyrings: [keyring] },
    { environment, clearTextLimitBytes: content.length },
  );
  verifier.write(message(Buffer.of(0xa3, 1), whole), () => undefined);
  expect((await verifier.finish()).signatures).toHaveLength(1);
  await verifier.dispose();
  const tight = await startVerifier(
    { keyrings: [keyring] },
    { environment, clearTextLimitBytes: content.length - 1 },
  );
  tight.write(message(Buffer.of(0xa3, 1), whole), () => undefined);
  expect(words(await refusal(tight.finish()))).toContain('too large');
  await tight.dispose();
});
