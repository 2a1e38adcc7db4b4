import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Spool } from '../../src/io/spool.js';
import { MIB } from '../../src/units.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

const upload = payloadBytes(0, 3 * MIB + 1);

async function contentOf(spool: Spool): Promise<Buffer> {
  const parts: Buffer[] = [];
  const source = spool.source('the upload');
  expect(source).toMatchObject({ name: 'the upload', contentLength: spool.length });
  await source.pump(({ bytes, release }) => {
    parts.push(Buffer.from(bytes));
    release();
  }, new AbortController().signal);
  source.close();
  return Buffer.concat(parts);
}

test('a spool has no name from the start, and gives back what it got, more than once', async () => {
  const folder = temporaryFolder();
  const spool = new Spool(folder);
  onTestFinished(() => spool.close());
  expect(readdirSync(folder)).toEqual([]);
  for (let at = 0; at < upload.length; at += 999_999) spool.append(upload.subarray(at, at + 999_999));
  expect(spool.length).toBe(upload.length);
  expect((await contentOf(spool)).equals(upload)).toBe(true);
  expect((await contentOf(spool)).equals(upload)).toBe(true);
  expect(readdirSync(folder)).toEqual([]);
});

test('a folder that is not there is an error of kind usage that names TMPDIR', () => {
  expect(() => new Spool(join(temporaryFolder(), 'missing'))).toThrow(
    expect.objectContaining({
      kind: 'usage',
      message: 'the temporary folder cannot be used',
      hint: expect.stringContaining('TMPDIR') as unknown,
    }) as Error,
  );
});

test('a folder that is full is an error of kind space', async (context) => {
  requireTool(context, 'mount', 'umount');
  requireRoot(context);
  await withSmallDisk(MIB, (folder) => {
    const spool = new Spool(folder);
    try {
      expect(() => spool.append(upload)).toThrow(expect.objectContaining({ kind: 'space' }) as Error);
    } finally {
      spool.close();
    }
  });
});
