/* The files of fixtures/vhd, made by other programs and by hand: fixtures/vhd/README.md says how. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { readChainWithVhdLib } from '../interop/vhd-lib.js';
import { FIXTURES, makeFixture } from './fixture-recipes.js';
import { memoryReader, openCollecting, readDisk } from './readers.js';

const FOLDER = join(import.meta.dirname, '../../fixtures/vhd');
const pathOf = (name: string): string => join(FOLDER, `${name}.vhd.gz`);
const bytesOf = (name: string): Buffer => gunzipSync(readFileSync(pathOf(name)));

/** Parents are taken from the folder of fixtures. */
const openParent = (path: string) =>
  Promise.resolve(memoryReader(bytesOf(path.replace(/\.vhd$/, '')), { name: path }));

beforeAll(async () => {
  if (process.env['MAKE_VHD_FIXTURES'] !== '1') return;
  const folder = mkdtempSync(join(tmpdir(), 'make-vhd-'));
  try {
    for (const fixture of FIXTURES) {
      writeFileSync(pathOf(fixture.name), gzipSync(await makeFixture(fixture, folder), { level: 9 }));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('every file has its recipe, and is small', () => {
  const files = readdirSync(FOLDER).filter((name) => name !== 'README.md');
  expect(files.sort()).toEqual(FIXTURES.map(({ name }) => `${name}.vhd.gz`).sort());
  for (const file of files) expect(statSync(join(FOLDER, file)).size, file).toBeLessThan(16 * 1024);
});

describe('the fixture', () => {
  const good = FIXTURES.filter(({ content }) => content !== undefined);
  const refused = FIXTURES.filter(({ content }) => content === undefined);

  test.each(good.map((fixture) => [fixture.name, fixture] as const))('%s', async (name, fixture) => {
    const { kind, creator, codes, content } = fixture;
    const reader = memoryReader(bytesOf(name), { name: `${name}.vhd` });
    const opened = await openCollecting(reader, { openParent, nowSeconds: Math.floor(Date.now() / 1000) });
    expect(opened.findings.map(({ code }) => code)).toEqual(codes);
    expect(opened.disk.kind).toBe(kind);
    expect(opened.disk.footer.creatorApplication).toBe(creator);
    const disk = await readDisk(opened.disk);
    const expected = content?.() ?? Buffer.alloc(0);
    expect(disk.subarray(0, expected.length).equals(expected.subarray(0, disk.length))).toBe(true);
    expect(disk.subarray(expected.length).every((byte) => byte === 0)).toBe(true);
    // Sizes that the programs rounded to their geometry, by less than a cylinder.
    expect(Math.abs(disk.length - expected.length)).toBeLessThan(16 * 63 * 512);
    expect(disk.some((byte) => byte !== 0)).toBe(true);
  });

  test.each(refused.map(({ name }) => [name]))('%s is refused', async (name) => {
    const reader = memoryReader(bytesOf(name));
    await expect(openCollecting(reader)).rejects.toMatchObject({ kind: 'image' });
  });

  test.for(good.filter(({ qemu }) => qemu).map(({ name }) => [name] as const))(
    '%s reads as qemu-img reads it',
    async ([name], context) => {
      requireTool(context, 'qemu-img');
      const path = join(temporaryFolder(), 'a.vhd');
      writeFileSync(path, bytesOf(name));
      convertToRaw(path, `${path}.raw`);
      const { disk } = await openCollecting(memoryReader(bytesOf(name)));
      expect((await readDisk(disk)).equals(readFileSync(`${path}.raw`))).toBe(true);
    },
  );

  test.each(['vhd-lib', 'windows'])('%s-child reads as vhd-lib puts it together', async (family) => {
    const folder = temporaryFolder();
    for (const role of ['parent', 'child']) {
      writeFileSync(join(folder, `${family}-${role}.vhd`), bytesOf(`${family}-${role}`));
    }
    const reader = memoryReader(bytesOf(`${family}-child`), { name: `${family}-child.vhd` });
    const { disk } = await openCollecting(reader, { openParent });
    const judged = await readChainWithVhdLib(join(folder, `${family}-child.vhd`));
    expect((await readDisk(disk)).equals(judged)).toBe(true);
  });
});
