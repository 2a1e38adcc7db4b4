/* One oddity or lie of a ZIP archive a test: long, as the list of them is. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { isPatchVdiError, type PatchVdiError } from '../../src/errors.js';
import type { Chunk } from '../../src/io/chunk.js';
import { openDescriptorSource, openPathSource, type SourceRequest } from '../../src/io/open-source.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { uploadBytes } from '../e2e/uploads.js';
import { ZipPatcher, makeZip, makeZipInAStream, storedZip } from './zips.js';

const CONTENT = uploadBytes(1_000_003);
const TEXT = Buffer.alloc(500_000, 'compressible ');
const REQUEST: SourceRequest = {};

beforeEach((context) => requireTool(context, 'zip', 'unzip'));

interface Taken {
  readonly name: string;
  readonly contentLength: number | undefined;
  readonly bytes: Buffer;
}

/** Takes the upload out of an archive as a writer would, giving buffers back late. */
async function take(archive: Uint8Array, request: SourceRequest = {}): Promise<Taken> {
  const path = join(temporaryFolder(), 'a.zip');
  writeFileSync(path, archive);
  const source = await openPathSource(path, { ...REQUEST, ...request });
  const parts: Buffer[] = [];
  try {
    await source.pump(({ bytes, release }: Chunk) => {
      parts.push(Buffer.from(bytes));
      setImmediate(release);
    }, new AbortController().signal);
  } finally {
    source.close();
  }
  return { name: source.name, contentLength: source.contentLength, bytes: Buffer.concat(parts) };
}

async function refused(archive: Uint8Array, request: SourceRequest = {}): Promise<PatchVdiError> {
  const error: unknown = await take(archive, request).then(
    (taken) => new Error(`accepted ${taken.name}`),
    (thrown: unknown) => thrown,
  );
  if (!isPatchVdiError(error)) throw error;
  expect(error.kind).toBe('upload');
  return error;
}

const said = ({ message, context, hint }: PatchVdiError): string =>
  [message, context.found, context.expected, hint].join(' | ');

describe('archives that work', () => {
  it.for([
    ['deflated', []],
    ['stored', ['-0']],
    ['with the largest effort', ['-9']],
    ['with zip64 records', ['-fz']],
    ['with a comment', ['-z']],
  ] as const)('%s', async ([, args]) => {
    for (const content of [CONTENT, TEXT, Buffer.from('x')]) {
      const taken = await take(makeZip({ 'XS62E001.xsupdate': content, 'readme.txt': 'hello' }, ...args));
      expect(taken.bytes.equals(content)).toBe(true);
      expect(taken.contentLength).toBe(content.length);
      expect(taken.name).toMatch(/a\.zip, member XS62E001\.xsupdate$/);
    }
  });

  it('written as a stream, with sizes behind the data', async () => {
    const archive = makeZipInAStream(CONTENT);
    const taken = await take(archive, { member: '-' });
    expect(taken.bytes.equals(CONTENT)).toBe(true);
  });

  it('with folders, and a name in capital letters', async () => {
    const taken = await take(makeZip({ 'XS62E001/HOTFIX.XSUPDATE': TEXT, 'XS62E001/src.iso': 'x' }));
    expect(taken.bytes.equals(TEXT)).toBe(true);
  });

  it('with several uploads, one of which is named', async () => {
    const archive = makeZip({ 'a.xsupdate': CONTENT, 'b.xsupdate': TEXT, 'notes.txt': 'x' });
    expect((await take(archive, { member: 'b.xsupdate' })).bytes.equals(TEXT)).toBe(true);
    expect((await take(archive, { member: 'notes.txt' })).bytes.toString()).toBe('x');
  });

  it('on a descriptor, from its start', async () => {
    const path = join(temporaryFolder(), 'a.zip');
    writeFileSync(path, makeZip({ 'a.xsupdate': TEXT }));
    const fd = openSync(path, 'r');
    try {
      const source = await openDescriptorSource('stdin', fd, REQUEST);
      expect(source.contentLength).toBe(TEXT.length);
      source.close();
    } finally {
      closeSync(fd);
    }
  });

  it('as they are, when nobody wants them unpacked', async () => {
    const archive = makeZip({ 'a.xsupdate': TEXT });
    const taken = await take(archive, { unzip: false });
    expect(taken.bytes.equals(archive)).toBe(true);
  });

  it('stops at once, and closes', async () => {
    const path = join(temporaryFolder(), 'a.zip');
    writeFileSync(path, makeZip({ 'a.xsupdate': CONTENT }));
    const source = await openPathSource(path, REQUEST);
    const controller = new AbortController();
    const reason = new Error('stop');
    await expect(source.pump(() => controller.abort(reason), controller.signal)).rejects.toBe(reason);
    source.close();
  });
});

describe('which member', () => {
  it('none that ends in .xsupdate', async () => {
    const text = said(await refused(makeZip({ 'a.iso': 'x', 'b\u001b[31m.txt': 'y' })));
    expect(text).toContain('the ZIP archive has no upload');
    expect(text).toContain('a.iso');
    expect(text).toContain('--member');
    expect(text).not.toContain('\u001b');
  });

  it('two, or thirty: twenty names are listed', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `hotfix-${index + 10}.xsupdate`);
    const text = said(await refused(makeZip(Object.fromEntries(names.map((name) => [name, 'x'])))));
    expect(text).toContain('the ZIP archive has several uploads');
    expect(text).toContain('hotfix-29.xsupdate and 10 more');
    expect(text).not.toContain('hotfix-30');
  });

  it('one that is not there, or a folder', async () => {
    const archive = makeZip({ 'folder/a.xsupdate': 'x' }, '-r');
    expect(said(await refused(archive, { member: 'a.xsupdate' }))).toContain('no such member');
    expect(said(await refused(archive, { member: 'folder/' }))).toContain('folder/a.xsupdate');
  });

  it('an archive without members', async () => {
    const empty = Buffer.alloc(22);
    empty.writeUInt32LE(0x06054b50, 0);
    expect(said(await refused(empty))).toContain('members: none');
  });

  it('a member of something that is no archive', async () => {
    await expect(take(Buffer.from('#!/bin/sh'), { member: 'x' })).rejects.toMatchObject({ kind: 'usage' });
  });

  it('another length than announced', async () => {
    const archive = makeZip({ 'a.xsupdate': TEXT });
    await expect(take(archive, { announced: 5 })).rejects.toMatchObject({
      kind: 'usage',
      context: { found: '500000 bytes', expected: '5 bytes (--content-length)' },
    });
    expect((await take(archive, { announced: TEXT.length })).bytes.equals(TEXT)).toBe(true);
  });
});

const NAME = 'a.xsupdate';
const patched = (...args: string[]): ZipPatcher =>
  new ZipPatcher(makeZip({ [NAME]: TEXT, 'b.txt': 'hello' }, ...args));

const HOSTILE: readonly (readonly [name: string, make: () => Uint8Array, says: RegExp])[] = [
  ['cut off', () => patched().bytes.subarray(0, -1), /damaged/],
  ['cut off before its directory', () => patched().bytes.subarray(0, 1000), /damaged/],
  ['bytes behind it', () => Buffer.concat([patched().bytes, Buffer.from('x')]), /damaged/],
  ['encrypted', () => makeZip({ [NAME]: TEXT }, '-P', 'secret'), /encrypted/],
  [
    'an unknown method',
    () => {
      const zip = patched();
      return zip.set16(zip.central(NAME) + 10, 12).set16(zip.local(NAME) + 8, 12).bytes;
    },
    /method 12/,
  ],
  [
    'another checksum in both headers',
    () => {
      const zip = patched();
      return zip.flip(zip.central(NAME) + 16).flip(zip.local(NAME) + 14).bytes;
    },
    /CRC-32/,
  ],
  [
    'another checksum in one header',
    () => {
      const zip = patched();
      return zip.flip(zip.local(NAME) + 14).bytes;
    },
    /contradict each other.*checksum/,
  ],
  [
    'a changed byte of stored data',
    () => {
      const zip = patched('-0');
      return zip.flip(zip.data(NAME) + 400_000).bytes;
    },
    /CRC-32/,
  ],
  [
    'a changed byte of deflated data',
    () => {
      const zip = patched();
      return zip.flip(zip.data(NAME) + 40).bytes;
    },
    /member of the ZIP archive is damaged/,
  ],
  [
    'a longer member than its data make',
    () => {
      const zip = patched();
      return zip.setSizes(NAME, zip.bytes.readUInt32LE(zip.local(NAME) + 18), TEXT.length + 1).bytes;
    },
    /500000 bytes \| 500001 bytes/,
  ],
  [
    'a shorter member than its data make',
    () => {
      const zip = patched();
      return zip.setSizes(NAME, zip.bytes.readUInt32LE(zip.local(NAME) + 18), TEXT.length - 1).bytes;
    },
    /500000 bytes \| 499999 bytes/,
  ],
  [
    'less compressed data than there is',
    () => {
      const zip = patched();
      return zip.setSizes(NAME, zip.bytes.readUInt32LE(zip.local(NAME) + 18) - 4, TEXT.length).bytes;
    },
    /damaged/,
  ],
  [
    'compressed data that end early',
    () => {
      const zip = patched();
      // The next member's header is taken for data: it is out of place, and so refused.
      return zip.setSizes(NAME, zip.bytes.readUInt32LE(zip.local(NAME) + 18) + 4, TEXT.length).bytes;
    },
    /overlap/,
  ],
  [
    'a gigantic size',
    () => {
      const zip = patched();
      return zip.setSizes(NAME, zip.bytes.readUInt32LE(zip.local(NAME) + 18), 0xfffffffe).bytes;
    },
    /larger than its data can become/,
  ],
  [
    'sizes that differ between the headers',
    () => {
      const zip = patched();
      return zip.set32(zip.local(NAME) + 22, TEXT.length + 1).bytes;
    },
    /contradict each other.*size/,
  ],
  [
    'another name in front of the data',
    () => {
      const zip = patched();
      zip.bytes.write('z', zip.local(NAME) + 30);
      return zip.bytes;
    },
    /contradict each other.*name/,
  ],
  [
    'another method in front of the data',
    () => {
      const zip = patched();
      return zip.set16(zip.local(NAME) + 8, 0).bytes;
    },
    /contradict each other.*method/,
  ],
  [
    'two members of one name',
    () => {
      const zip = new ZipPatcher(makeZip({ 'a.xsupdate': 'one', 'b.xsupdate': 'two' }));
      return zip.rename('b.xsupdate', 'a.xsupdate').bytes;
    },
    /two members of one name/,
  ],
  ['one place for two members', () => storedZip('a.xsupdate', TEXT, 2), /two members of one name/],
  [
    'one place for members of two names',
    () => {
      const zip = new ZipPatcher(makeZip({ 'a.xsupdate': 'one', 'b.txt': 'two' }));
      return zip.set32(zip.central('b.txt') + 42, 0).bytes;
    },
    /overlap/,
  ],
  [
    'a place outside of the file',
    () => {
      const zip = patched();
      return zip.set32(zip.central(NAME) + 42, 0x7fffffff).bytes;
    },
    /overlap or lie outside/,
  ],
  [
    'a place where no header is',
    () => {
      const zip = new ZipPatcher(makeZip({ [NAME]: TEXT }));
      return zip.set32(zip.central(NAME) + 42, 1).bytes;
    },
    /damaged/,
  ],
  [
    'a directory elsewhere',
    () => {
      const zip = patched();
      return zip.set32(zip.end() + 16, 3).bytes;
    },
    /damaged/,
  ],
  [
    'more members than there are',
    () => {
      const zip = patched();
      return zip.set16(zip.end() + 10, 60_000).bytes;
    },
    /too many members/,
  ],
  [
    'a few members more than there are',
    () => {
      const zip = patched();
      return zip.set16(zip.end() + 10, 3).bytes;
    },
    /damaged/,
  ],
  [
    'another disk',
    () => {
      const zip = patched();
      return zip.set16(zip.end() + 4, 1).bytes;
    },
    /disk/,
  ],
  [
    'a name that leaves the folder',
    () => new ZipPatcher(makeZip({ 'abc/a.xsupdate': 'x' })).rename('abc/a.xsupdate', '../a/.xsupdate').bytes,
    /damaged/,
  ],
];

describe('hostile archives', () => {
  it.for(HOSTILE)('%s', async ([, make, says]) => {
    expect(said(await refused(make()))).toMatch(says);
  });

  it('a stored member of compressed data of another length', async () => {
    const zip = patched('-0');
    expect(said(await refused(zip.setSizes(NAME, TEXT.length, TEXT.length + 1).bytes))).toContain('damaged');
  });

  it('deflated data with something behind them', async () => {
    const made = makeZip({ [NAME]: TEXT });
    const zip = new ZipPatcher(made);
    const packed = zip.bytes.readUInt32LE(zip.local(NAME) + 18);
    const dataEnd = zip.data(NAME) + packed;
    const longer = new ZipPatcher(
      Buffer.concat([made.subarray(0, dataEnd), Buffer.from('hide'), made.subarray(dataEnd)]),
    );
    longer.set32(longer.end() + 16, zip.bytes.readUInt32LE(zip.end() + 16) + 4);
    longer.setSizes(NAME, packed + 4, TEXT.length);
    expect(said(await refused(longer.bytes))).toContain(`end after ${packed} bytes`);
  });
});
