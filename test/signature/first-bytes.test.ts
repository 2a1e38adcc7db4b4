import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeFirstBytes } from '../../src/signature/first-bytes.js';
import { CONTENT, LITERAL, mallory, SIGNATURE } from './container-attacks.js';
import { drive, refusal, words } from './drive.js';
import { OpenPgpBench, packet } from './openpgp-bench.js';

let bench: OpenPgpBench;
let keyring: string;

beforeAll(() => {
  bench = new OpenPgpBench();
  keyring = bench.file(mallory.keyring());
});

afterAll(() => bench.close());

function iso(): Buffer {
  const image = Buffer.alloc(40_000);
  image.write('\u0001CD001', 32768, 'latin1');
  return image;
}

const UPLOADS: readonly (readonly [string, Buffer, string])[] = [
  ['nothing', Buffer.alloc(0), 'no bytes at all'],
  [
    'a message in armour',
    Buffer.from('-----BEGIN PGP MESSAGE-----\n\nowEB\n'),
    'an armoured OpenPGP message',
  ],
  [
    'cleartext',
    Buffer.from('-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n'),
    'a cleartext-signed message',
  ],
  [
    'a signature in armour',
    Buffer.from('-----BEGIN PGP SIGNATURE-----\n\niHUE\n'),
    'an armoured OpenPGP file',
  ],
  ['a ZIP file', Buffer.from('PK\u0003\u0004\u0014\0\0\0\u0008\0'), 'a ZIP file'],
  ['a script', Buffer.from('#!/bin/sh\necho\n'), 'a script'],
  ['gzip', gzipSync('x'), 'a gzip file'],
  ['an ISO image', iso(), 'an ISO image'],
  ['zeros', Buffer.alloc(100), 'bytes 00 00'],
  ['escape sequences', Buffer.from('\u001b[31mred\n'.repeat(9)), 'bytes 1b 5b 33'],
  ['a literal', LITERAL, 'a Literal Data packet at its start'],
  ['a signature', SIGNATURE, 'a Signature packet at its start'],
  ['a key', mallory.keyring(), 'a Public-Key packet at its start'],
  ['encrypted', packet(1, CONTENT), 'a Public-Key Encrypted Session Key packet'],
  ['an unknown packet', packet(63, CONTENT), 'bytes ff ff 00'],
];

describe('an upload that is no message at all', () => {
  it.each(UPLOADS)('%s', async (_, upload, found) => {
    expect(describeFirstBytes(upload).found).toContain(found);
    const options = { temporaryFolder: bench.temporaryFolder };
    // The ISO image's magic is far behind: only a chunk that reaches it tells.
    const sizes = found.includes('ISO') ? [65536] : [65536, 1, 5];
    for (const chunks of sizes) {
      const error = await refusal(drive(upload, { keyrings: [keyring] }, { ...options, chunks }));
      expect(error.kind).toBe('signature');
      expect(words(error)).toContain(`not a binary signed message | ${found}`);
      expect(error.hint).not.toBe('');
      expect(words(error)).not.toMatch(/\p{Cc}/u);
    }
  });

  it('real armour and cleartext by gpg', async () => {
    const key = bench.key('Alice');
    for (const [how, found] of [
      ['--armor', 'an armoured OpenPGP message'],
      ['--clearsign', 'a cleartext-signed message'],
    ] as const) {
      const upload = bench.gpg(
        ['-u', key.fingerprint, how === '--armor' ? '--sign' : how, '--armor'],
        CONTENT,
      );
      const policy = { keyrings: [bench.keyring()] };
      const error = await refusal(drive(upload, policy, { temporaryFolder: bench.temporaryFolder }));
      expect(words(error)).toContain(found);
    }
  });

  it('bzip2 and text mode by gpg', async () => {
    const key = bench.key('Carol');
    const policy = { keyrings: [bench.keyring()] };
    for (const [args, found] of [
      [
        ['--compress-algo', 'bzip2'],
        'BZip2 (algorithm 3) | ZIP (1) or ZLIB (2) | sign with --compress-algo zlib',
      ],
      [['--textmode'], 'text-mode'],
    ] as const) {
      const upload = bench.sign(CONTENT, [key], ...args);
      const error = await refusal(drive(upload, policy, { temporaryFolder: bench.temporaryFolder }));
      expect(error.kind).toBe('signature');
      expect(words(error)).toContain(found);
    }
  });
});
