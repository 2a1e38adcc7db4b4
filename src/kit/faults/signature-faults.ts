import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { PatchVdiError } from '../../errors.js';
import { MIB, describeBytes } from '../../units.js';
import { armored } from '../armored.js';
import { filler } from '../filler.js';
import { KEYRING_NAMES } from '../kit-keys.js';
import { packet, utf8 } from '../packets.js';
import { textSignature } from '../signing.js';
import type { UploadBench } from '../uploads.js';
import {
  ALL_FILESYSTEMS,
  ALL_FORMATS,
  TRUSTED,
  differing,
  warned,
  type Expected,
  type UploadFault,
} from './fault.js';

/** What all of them come to: a good disk, with something in it that must not be trusted. */
function untrusted(gpgv: Expected['gpgv']): UploadFault['expected'] {
  return differing({
    ...warned([], 'bad'),
    inspect: { exitCode: 0, findings: [] },
    gpgv,
    apply: 'must refuse',
  });
}

const COMMON = {
  family: 'signature',
  layer: 'upload',
  formats: ALL_FORMATS,
  filesystems: ALL_FILESYSTEMS,
  keyring: TRUSTED,
} as const;

const EVIL_SCRIPT = utf8('#!/bin/sh\necho this part was never signed\nexit 0\n');

/** RFC 4880 §5.8: to be ignored by whoever reads a message. */
const MARKER_TAG = 10;
/** RFC 4880 §4.3: for private or experimental use. */
const EXPERIMENTAL_TAG = 60;

/** Above that an armoured copy is not made: all of it would be in memory. */
const MAX_ARMORED_BYTES = 64 * MIB;

/** A byte in the middle of a signed message is one of its payload. */
async function tampered(bench: UploadBench) {
  return await bench.edited(await bench.signed(), (file) => {
    const at = Math.floor(file.sizeBytes / 2);
    file.write(
      at,
      file.read(at, 1).map((byte) => byte ^ 1),
    );
  });
}

async function armoredMessage(bench: UploadBench) {
  const { path } = await bench.signed();
  const { size } = await stat(path);
  if (size > MAX_ARMORED_BYTES) {
    throw new PatchVdiError('usage', 'an armoured message cannot be that large', {
      context: { found: describeBytes(size), expected: `at most ${describeBytes(MAX_ARMORED_BYTES)}` },
    });
  }
  const text = utf8(armored('MESSAGE', new Uint8Array(await readFile(path))));
  return await bench.changed({ path }, async function* () {
    yield await Promise.resolve(text);
  });
}

const LINE_BYTES = 64;

/** A script of about that size, line by line, without line ends; no line ends in a space or begins with a dash. */
async function* scriptLines(bench: UploadBench): AsyncGenerator<string> {
  yield '#!/bin/sh';
  yield 'echo applied';
  yield 'exit 0';
  for await (const chunk of filler(bench.seed, 'clear-signed text', Math.floor(bench.sizeBytes / 2))) {
    const hex = Buffer.from(chunk).toString('hex');
    for (let at = 0; at < hex.length; at += LINE_BYTES) yield `# ${hex.slice(at, at + LINE_BYTES)}`;
  }
}

/** RFC 4880 §7: what is signed has CRLF between the lines, and none at the end. */
async function clearSigned(bench: UploadBench) {
  const key = bench.keys.key('signer');
  const from = await bench.unsigned();
  return await bench.changed(from, async function* () {
    const hash = createHash('sha256');
    yield utf8('-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n');
    let isFirst = true;
    for await (const line of scriptLines(bench)) {
      hash.update(isFirst ? line : `\r\n${line}`);
      isFirst = false;
      yield utf8(`${line}\n`);
    }
    yield utf8(armored('SIGNATURE', textSignature(hash, key.createdAt, key)));
  });
}

export const SIGNATURE_FAULTS: readonly UploadFault[] = [
  {
    ...COMMON,
    name: 'unsigned',
    what: 'The file patch is a script that nobody has signed.',
    consumer: 'Stores nothing and runs nothing without a signature that it trusts.',
    expected: untrusted('bad'),
    make: (bench) => bench.unsigned(),
  },
  {
    ...COMMON,
    name: 'tampered-payload',
    what: 'One bit of the signed message was changed after it was signed.',
    consumer: 'Checks the signature over all of it, and refuses.',
    expected: untrusted('bad'),
    make: tampered,
  },
  {
    ...COMMON,
    name: 'unknown-signer',
    what: 'The signature is a good one, by a key that is not among the trusted ones.',
    consumer: 'Knows whom it trusts, and refuses.',
    expected: untrusted('bad'),
    make: (bench) => bench.signed('stranger'),
  },
  {
    ...COMMON,
    name: 'expired-key',
    what: 'The key was in force when it signed, and has expired since.',
    consumer: 'Refuses, unless its user has decided otherwise for old patches.',
    keyring: KEYRING_NAMES.expired,
    // gpgv exits 0 and says GOODSIG beside EXPKEYSIG: its exit code is no verdict.
    expected: untrusted('good'),
    make: (bench) => bench.signed('expired'),
  },
  {
    ...COMMON,
    name: 'bytes-before-message',
    what: 'A script stands in front of the signed message.',
    consumer: 'Runs only what the signature covers, and refuses what stands around it.',
    expected: untrusted('bad'),
    make: async (bench) =>
      bench.changed(await bench.signed(), async function* (chunks) {
        yield EVIL_SCRIPT;
        yield* chunks;
      }),
  },
  {
    ...COMMON,
    name: 'packet-before-message',
    what: 'A marker packet stands in front of the signed message; gpgv passes over it.',
    consumer: 'Does not take the exit code of gpgv for a check of the container.',
    expected: untrusted('good'),
    make: async (bench) =>
      bench.changed(await bench.signed(), async function* (chunks) {
        yield packet(MARKER_TAG, utf8('PGP'));
        yield* chunks;
      }),
  },
  {
    ...COMMON,
    name: 'bytes-after-message',
    what: 'A script stands behind the signed message.',
    consumer: 'Waits for gpgv to end: it says GOODSIG before it meets what follows.',
    expected: untrusted('bad'),
    make: async (bench) =>
      bench.changed(await bench.signed(), async function* (chunks) {
        yield* chunks;
        yield EVIL_SCRIPT;
      }),
  },
  {
    ...COMMON,
    name: 'packet-after-message',
    what: 'An unknown packet with a script in it follows the signed message; gpgv passes over it.',
    consumer: 'Does not take the exit code of gpgv for a check of the container.',
    expected: untrusted('good'),
    make: async (bench) =>
      bench.changed(await bench.signed(), async function* (chunks) {
        yield* chunks;
        yield packet(EXPERIMENTAL_TAG, EVIL_SCRIPT);
      }),
  },
  {
    ...COMMON,
    name: 'second-message',
    what: 'Two signed messages, one behind the other.',
    consumer: 'Takes one message, and refuses.',
    expected: untrusted('bad'),
    make: async (bench) => {
      const second = new Uint8Array(await readFile((await bench.signed('second', 16 * 1024)).path));
      return await bench.changed(await bench.signed(), async function* (chunks) {
        yield* chunks;
        yield second;
      });
    },
  },
  {
    ...COMMON,
    name: 'cleartext-wrapper',
    what: 'A text with a good signature in the cleartext framework (gpg --clearsign); gpgv accepts it.',
    consumer: 'Takes binary signed messages only: the stored bytes are not the signed ones here.',
    expected: untrusted('good'),
    make: clearSigned,
  },
  {
    ...COMMON,
    name: 'armored-message',
    what: 'A good signed message in ASCII armour (gpg --armor); gpgv accepts it.',
    consumer: 'Takes binary signed messages only: the headers of an armour are not signed.',
    expected: untrusted('good'),
    make: armoredMessage,
  },
  {
    ...COMMON,
    name: 'cut-in-signature',
    what: 'The signed message ends within its signature.',
    consumer: 'Refuses: the announcement of a signature is none.',
    expected: untrusted('bad'),
    make: async (bench) => {
      // The number at its end alone has 256 bytes (RSA, 2048 bits).
      const missingBytes = 100;
      return await bench.edited(await bench.signed(), (file) => file.resize(file.sizeBytes - missingBytes));
    },
  },
];
