/* One shape of a chain of parents a test, over the same makers of disks: long, as the list of shapes is. */
import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import type { ParentLocator } from '../../src/vhd/open-vhd.js';
import {
  FOOTER_BYTES,
  contentOf,
  makeDynamic,
  makeFixed,
  patternOf,
  seal,
  setField,
  type Fields,
  type HandMade,
} from './hand-made.js';
import { FOOTER_FIELDS } from './specification.js';
import { folderOf, memoryReader, openCollecting, readDisk } from './readers.js';

const HEADER_END = 1536;

const idOf = (number: number): Buffer => Buffer.alloc(16, number);

/** "Parent Locator Entry": platform code, space in sectors, length, reserved, offset. */
function locatorEntry(code: string, length: number, offset: number, space = 1): Buffer {
  const entry = Buffer.alloc(24);
  entry.write(code, 0, 'latin1');
  entry.writeUInt32BE(space, 4);
  entry.writeUInt32BE(length, 8);
  entry.writeBigUInt64BE(BigInt(offset), 16);
  return entry;
}

const utf16le = (text: string): Buffer => Buffer.from(text, 'utf16le');
const utf16be = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

interface Links {
  /** Number of the file: its unique id and its data. */
  readonly self: number;
  readonly parent: number;
  readonly unicodeName?: string;
  readonly locators?: ReadonlyArray<readonly [code: string, data: Buffer]>;
  readonly header?: Fields;
}

/** A differencing disk that is tied to its parent in the given ways. */
function makeChild(parts: HandMade, links: Links): Buffer {
  const { self, parent, unicodeName = '', locators = [], header } = links;
  let offset = HEADER_END;
  const entries: Buffer[] = [];
  const places: Buffer[] = [];
  for (const [code, data] of locators) {
    const place = Buffer.alloc(Math.ceil(data.length / 512) * 512);
    data.copy(place);
    entries.push(locatorEntry(code, data.length, offset));
    places.push(place);
    offset += place.length;
  }
  return makeDynamic({
    ...parts,
    seed: self,
    diskType: 4,
    footer: { 'Unique Id': idOf(self) },
    header: {
      'Parent Unique ID': parent === 0 ? new Uint8Array(16) : idOf(parent),
      'Parent Unicode Name': utf16be(unicodeName),
      'Parent Locator Entries': Buffer.concat(entries),
      ...header,
    },
    behindHeader: Buffer.concat(places),
  });
}

const base: HandMade = { sizeBytes: 8 * MIB, seed: 1, blocks: [{ block: 0 }, { block: 1 }, { block: 3 }] };
const baseBytes = makeDynamic({ ...base, footer: { 'Unique Id': idOf(1) } });
const baseContent = contentOf(base);

/** All that a block can be: its own, its parent's, partly so, nobody's. */
const middle: HandMade = {
  sizeBytes: 8 * MIB,
  seed: 2,
  blocks: [
    { block: 0, sectors: [0, 1, 2, 9, 4095] },
    { block: 2, sectors: [7, 8] },
    { block: 3, sectors: [] },
  ],
};
const middleContent = contentOf(middle, baseContent);
const top: HandMade = { sizeBytes: 8 * MIB, seed: 3, blocks: [{ block: 0, sectors: [1, 3] }, { block: 1 }] };

describe('a differencing disk', () => {
  const middleBytes = makeChild(middle, { self: 2, parent: 1, unicodeName: 'base.vhd' });

  test('takes from its parent what it does not have', async () => {
    const { openParent, opened } = folderOf({ 'folder/base.vhd': baseBytes });
    const reader = memoryReader(middleBytes);
    const { disk, codes } = await openCollecting(reader, { openParent });
    expect(codes).toEqual([]);
    expect(disk).toMatchObject({ kind: 'differencing', allocatedBlockCount: 3 });
    expect(disk.parent).toMatchObject({ kind: 'dynamic', name: 'folder/base.vhd', sizeBytes: 8 * MIB });
    expect((await readDisk(disk)).equals(middleContent)).toBe(true);
    expect((await readDisk(disk, 4099)).equals(middleContent)).toBe(true);
    expect([...disk.allocatedRuns()]).toEqual([{ offset: 0, length: 8 * MIB }]);
    await disk.close();
    await disk.close();
    expect(opened.map(({ closed }) => closed)).toEqual([1]);
    expect(reader.closed).toBe(0);
  });

  test('of three generations', async () => {
    const bytes = makeChild(top, { self: 3, parent: 2, unicodeName: 'middle.vhd' });
    const { openParent, asked, opened } = folderOf({
      'folder/base.vhd': baseBytes,
      'folder/middle.vhd': middleBytes,
    });
    const { disk, codes } = await openCollecting(memoryReader(bytes), { openParent });
    expect(codes).toEqual([]);
    expect(asked).toEqual(['folder/middle.vhd', 'folder/base.vhd']);
    expect((await readDisk(disk)).equals(contentOf(top, middleContent))).toBe(true);
    await disk.close();
    expect(opened.map(({ closed }) => closed)).toEqual([1, 1]);
  });

  test('over a fixed disk', async () => {
    const fixed = makeFixed(baseContent, { 'Unique Id': idOf(1) });
    const { openParent } = folderOf({ 'folder/base.vhd': fixed });
    const { disk, codes } = await openCollecting(memoryReader(middleBytes), { openParent });
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(middleContent)).toBe(true);
  });

  test('over a raw disk, which blktap marks with an id of zeros', async () => {
    const bytes = makeChild(middle, { self: 2, parent: 0, unicodeName: 'base.raw' });
    const raw = baseContent.subarray(0, 3 * MIB);
    const { openParent } = folderOf({ 'folder/base.raw': raw });
    const { disk, codes } = await openCollecting(memoryReader(bytes), { openParent });
    expect(codes).toEqual([]);
    expect((await readDisk(disk)).equals(contentOf(middle, raw))).toBe(true);
    expect([...disk.allocatedRuns()]).toEqual([
      { offset: 0, length: 3 * MIB },
      { offset: 4 * MIB, length: 4 * MIB },
    ]);
  });

  test('that is larger than its parent reads zeros past the end of that', async () => {
    const small: HandMade = { sizeBytes: 3 * MIB, seed: 1, blocks: [{ block: 0 }, { block: 1 }] };
    const bytes = makeDynamic({ ...small, footer: { 'Unique Id': idOf(1) } });
    const { openParent } = folderOf({ 'folder/base.vhd': bytes });
    const { disk } = await openCollecting(memoryReader(middleBytes), { openParent });
    expect((await readDisk(disk)).equals(contentOf(middle, contentOf(small)))).toBe(true);
  });

  test('that is smaller than its parent ends where it ends', async () => {
    const small: HandMade = { sizeBytes: 3 * MIB, seed: 2, blocks: [{ block: 0, sectors: [0] }] };
    const bytes = makeChild(small, { self: 2, parent: 1, unicodeName: 'base.vhd' });
    const { openParent } = folderOf({ 'folder/base.vhd': baseBytes });
    const { disk } = await openCollecting(memoryReader(bytes), { openParent });
    expect((await readDisk(disk)).equals(contentOf(small, baseContent.subarray(0, 4 * MIB)))).toBe(true);
    expect([...disk.allocatedRuns()]).toEqual([{ offset: 0, length: 3 * MIB }]);
  });

  test('says what its parent has wrong in the name of the parent', async () => {
    const damaged = Buffer.from(baseBytes);
    damaged.fill(0, damaged.length - 512);
    const { openParent } = folderOf({ 'folder/base.vhd': damaged });
    const { findings } = await openCollecting(memoryReader(middleBytes), { openParent });
    expect(findings).toMatchObject([
      { code: 'vhd-footer-missing', structure: 'parent 1 (folder/base.vhd): footer', space: 'file' },
    ]);
  });
});

describe('the way to the parent', () => {
  const made = (unicodeName: string, ...locators: NonNullable<Links['locators']>): Buffer =>
    makeChild(middle, { self: 2, parent: 1, unicodeName, locators });

  test.each<[string, Buffer, string[]]>([
    ['a relative Windows path', made('', ['W2ru', utf16le('.\\base.vhd')]), ['folder/base.vhd']],
    ['one with folders', made('', ['W2ru', utf16le('..\\other\\base.vhd')]), ['folder/../other/base.vhd']],
    ['one that ends in NUL', made('', ['W2ru', utf16le('base.vhd\0\0')]), ['folder/base.vhd']],
    ['an absolute Windows path', made('', ['W2ku', utf16le('C:\\disks\\base.vhd')]), ['folder/base.vhd']],
    ['a Windows server', made('', ['W2ku', utf16le('\\\\server\\disks\\base.vhd')]), ['folder/base.vhd']],
    [
      'a relative path where an absolute one should be, as vhd-lib writes it',
      made('', ['W2ku', utf16le('base.vhd')]),
      ['folder/base.vhd'],
    ],
    ['a URL', made('', ['MacX', Buffer.from('file:///disks/my%20base.vhd')]), ['folder/my base.vhd']],
    [
      'a URL of this host',
      made('', ['MacX', Buffer.from('file://localhost/disks/base.vhd')]),
      ['folder/base.vhd'],
    ],
    ['a relative URL of blktap', made('', ['MacX', Buffer.from('file://./base.vhd')]), ['folder/base.vhd']],
    [
      'a percent sign that escapes nothing',
      made('', ['MacX', Buffer.from('file://./100%.vhd')]),
      ['folder/100%.vhd'],
    ],
    ['a deprecated path', made('', ['Wi2r', Buffer.from('.\\base.vhd')]), ['folder/base.vhd']],
    ['the name in the header', made('base.vhd'), ['folder/base.vhd']],
    ['an absolute name in the header', made('/disks/base.vhd'), ['folder/base.vhd']],
    ['a Windows name in the header', made('C:\\disks\\base.vhd'), ['folder/base.vhd']],
    [
      'a name with letters of all kinds',
      made('', ['W2ru', utf16le('.\\bäse-日本.vhd')]),
      ['folder/bäse-日本.vhd'],
    ],
    [
      'several ways: the relative ones first, each once',
      made(
        'base.vhd',
        ['W2ku', utf16le('D:\\a.vhd')],
        ['MacX', Buffer.from('file://./b.vhd')],
        ['W2ru', utf16le('.\\c\\d.vhd')],
        ['MacX', Buffer.from('file:///x/base.vhd')],
      ),
      ['folder/b.vhd', 'folder/c/d.vhd', 'folder/a.vhd', 'folder/base.vhd'],
    ],
    ['an alias of the Mac: none', made('', ['Mac ', Buffer.from('base.vhd')]), []],
    ['a folder: none', made('', ['W2ru', utf16le('..\\')], ['W2ku', utf16le('C:\\..')]), []],
  ])('%s', async (_what, bytes, expected) => {
    const { openParent, asked } = folderOf({});
    const { disk, codes } = await openCollecting(memoryReader(bytes), { openParent });
    expect(asked).toEqual(expected);
    expect(codes).toEqual(['vhd-parent-missing']);
    expect(disk.parent).toBeUndefined();
  });

  test.each<[string, Buffer]>([
    ['a control character', utf16le('a\nb')],
    ['nothing', Buffer.alloc(0)],
    ['a NUL first', utf16le('\0base.vhd')],
    ['half a character', Buffer.from([0x00, 0xd8, 0x41, 0x00])],
  ])('%s is a damaged locator', async (_what, data) => {
    const { openParent, asked } = folderOf({});
    const { codes } = await openCollecting(memoryReader(made('', ['W2ru', data])), { openParent });
    expect(asked).toEqual([]);
    expect(codes).toEqual(['vhd-parent-locator', 'vhd-parent-missing']);
  });

  test('is one of the facts, as it stands', async () => {
    const bytes = made('name', ['W2ru', utf16le('.\\b.vhd')], ['Mac ', Buffer.from('xyz')]);
    const { disk } = await openCollecting(memoryReader(bytes));
    expect(disk.header?.parentUnicodeName).toBe('name');
    expect(disk.header?.parentUniqueId).toEqual(Uint8Array.from(idOf(1)));
    expect(disk.header?.parentLocators).toEqual([
      { platformCode: 'W2ru', dataOffset: 1536, dataLength: 14, path: '.\\b.vhd' },
      { platformCode: 'Mac ', dataOffset: 2048, dataLength: 3, path: undefined },
    ] satisfies ParentLocator[]);
  });

  test.each<[string, Buffer]>([
    ['outside the file', locatorEntry('W2ru', 20, 2 ** 40)],
    ['outside numbers', locatorEntry('W2ru', 20, Number.MAX_SAFE_INTEGER + 1)],
    ['of 4 GiB', locatorEntry('W2ru', 0xffffffff, 1536)],
    ['of 65 537 bytes', locatorEntry('W2ru', 65_537, 1536)],
  ])('%s is a damaged locator, and is not read', async (_what, entry) => {
    const header = { 'Parent Locator Entries': entry };
    const bytes = makeChild(middle, { self: 2, parent: 1, unicodeName: 'base.vhd', header });
    const { openParent } = folderOf({ 'folder/base.vhd': baseBytes });
    const reader = memoryReader(bytes);
    const { codes } = await openCollecting(reader, { openParent });
    expect(codes).toEqual(['vhd-parent-locator']);
    expect(reader.reads.every(({ length }) => length <= 1024)).toBe(true);
  });

  test('that lies on the header is two structures at one place', async () => {
    const header = { 'Parent Locator Entries': locatorEntry('W2ru', 20, 600) };
    const bytes = makeChild(middle, { self: 2, parent: 1, unicodeName: 'base.vhd', header });
    const { openParent } = folderOf({ 'folder/base.vhd': baseBytes });
    const { codes } = await openCollecting(memoryReader(bytes), { openParent });
    expect(codes).toContain('vhd-structures-overlap');
  });

  test('a child without a folder in its name looks beside itself', async () => {
    const { openParent, asked } = folderOf({ 'base.vhd': baseBytes });
    const reader = memoryReader(made('base.vhd'), { name: 'child.vhd' });
    expect((await openCollecting(reader, { openParent })).codes).toEqual([]);
    expect(asked).toEqual(['base.vhd']);
  });
});

describe('a parent that is not there', () => {
  const bytes = makeChild(middle, { self: 2, parent: 1, unicodeName: 'base.vhd' });

  test.each([
    ['because nobody opens it', undefined],
    ['because there is no such file', folderOf({}).openParent],
  ])('%s: what the child has can be read', async (_why, openParent) => {
    const { disk, findings } = await openCollecting(
      memoryReader(bytes),
      openParent === undefined ? {} : { openParent },
    );
    expect(findings).toMatchObject([
      { code: 'vhd-parent-missing', severity: 'error', offset: 512 + 40, structure: 'parent' },
    ]);
    expect(findings[0]?.expected).toContain(
      'unique_id 01010101-0101-0101-0101-010101010101 at "folder/base.vhd"',
    );
    const target = Buffer.alloc(3 * 512);
    await disk.readInto(target, 0);
    expect(target.equals(middleContent.subarray(0, 3 * 512))).toBe(true);
    await expect(disk.readInto(Buffer.alloc(1), 3 * 512)).rejects.toMatchObject({ kind: 'image' });
    await expect(disk.readInto(Buffer.alloc(1), 2 * MIB)).rejects.toMatchObject({ kind: 'image' });
    expect([...disk.allocatedRuns()]).toEqual([
      { offset: 0, length: 2 * MIB },
      { offset: 4 * MIB, length: 4 * MIB },
    ]);
    await disk.close();
  });

  test('is told at the header that was found, wherever the footer has it', async () => {
    const lost = Buffer.from(bytes);
    for (const at of [0, lost.length - FOOTER_BYTES]) {
      const footer = lost.subarray(at, at + FOOTER_BYTES);
      setField(FOOTER_FIELDS, footer, 'Data Offset', 2n ** 53n);
      seal(FOOTER_FIELDS, footer);
    }
    const { findings } = await openCollecting(memoryReader(lost));
    expect(findings).toMatchObject([
      { code: 'vhd-data-offset' },
      { code: 'vhd-parent-missing', offset: 512 + 40 },
    ]);
  });

  test.each<[string, Buffer, string, string]>([
    [
      'has another id',
      makeDynamic({ ...base, footer: { 'Unique Id': idOf(9) } }),
      'vhd-parent-mismatch',
      '09090909',
    ],
    ['is no VHD', Buffer.alloc(4096), 'vhd-parent-mismatch', 'no VHD'],
    ['is empty', Buffer.alloc(0), 'vhd-parent-mismatch', 'no VHD'],
    ['cannot be read', baseBytes.subarray(0, 1000), 'vhd-parent-unreadable', 'data_offset 512'],
  ])('because what is there %s', async (_why, other, code, found) => {
    const { openParent, opened } = folderOf({ 'folder/base.vhd': other });
    const { disk, findings } = await openCollecting(memoryReader(bytes), { openParent });
    expect(findings).toMatchObject([{ code, severity: 'error', found: expect.stringContaining(found) }]);
    expect(disk.parent).toBeUndefined();
    expect(opened.map(({ closed }) => closed)).toEqual([1]);
  });

  test('at the first place may be at the second', async () => {
    const two = makeChild(middle, {
      self: 2,
      parent: 1,
      unicodeName: 'base.vhd',
      locators: [['W2ru', utf16le('.\\stranger.vhd')]],
    });
    const { openParent, opened } = folderOf({
      'folder/stranger.vhd': makeFixed(Buffer.alloc(512)),
      'folder/base.vhd': baseBytes,
    });
    const { disk, codes } = await openCollecting(memoryReader(two), { openParent });
    expect(codes).toEqual([]);
    expect(opened.map(({ closed }) => closed)).toEqual([1, 0]);
    expect((await readDisk(disk)).equals(middleContent)).toBe(true);
  });
});

describe('the time of the parent', () => {
  const made = (seconds: number): Buffer =>
    makeChild(middle, {
      self: 2,
      parent: 1,
      unicodeName: 'base.vhd',
      header: { 'Parent Time Stamp': seconds },
    });

  test.each([
    ['unset', 0, []],
    ['after it was made', 631_152_001, []],
    ['when it was made', 631_152_000, []],
    ['before it was made', 631_151_999, ['vhd-parent-time']],
  ])('%s', async (_what, seconds, expected) => {
    const { openParent } = folderOf({ 'folder/base.vhd': baseBytes });
    const { codes, disk } = await openCollecting(memoryReader(made(seconds)), { openParent });
    expect(codes).toEqual(expected);
    expect(disk.parent).toBeDefined();
  });
});

describe('a chain without an end', () => {
  test.each([
    ['of one', { 'folder/a.vhd': makeChild(top, { self: 3, parent: 3, unicodeName: 'a.vhd' }) }],
    [
      'of two',
      {
        'folder/a.vhd': makeChild(top, { self: 4, parent: 3, unicodeName: 'b.vhd' }),
        'folder/b.vhd': makeChild(top, { self: 3, parent: 4, unicodeName: 'a.vhd' }),
      },
    ],
  ])('%s is an error', async (_what, files) => {
    const self = 3;
    const parent = _what === 'of one' ? 3 : 4;
    const bytes = makeChild(top, { self, parent, unicodeName: 'a.vhd' });
    const { openParent, opened } = folderOf(files);
    await expect(openCollecting(memoryReader(bytes), { openParent })).rejects.toMatchObject({
      kind: 'image',
      context: { found: expect.stringContaining('unique_id 03030303-') },
    });
    expect(opened.every(({ closed }) => closed === 1)).toBe(true);
  });

  /** Files 1 … count, each a child of the one before, and the first a dynamic disk. */
  function chainOf(count: number): { child: Buffer; files: Record<string, Uint8Array> } {
    const small: HandMade = { sizeBytes: 4096, blockBytes: 4096 };
    const files: Record<string, Uint8Array> = {
      'folder/1.vhd': makeDynamic({
        ...small,
        blocks: [{ block: 0 }],
        footer: { 'Unique Id': idOf(1) },
      }),
    };
    for (let number = 2; number <= count; number += 1) {
      const links = { self: number, parent: number - 1, unicodeName: `${number - 1}.vhd` };
      files[`folder/${number}.vhd`] = makeChild(small, links);
    }
    const child = files[`folder/${count}.vhd`];
    if (child === undefined) throw new Error('a chain has a child');
    return { child: Buffer.from(child), files };
  }

  test('16 generations can be read', async () => {
    const { child, files } = chainOf(16);
    const { openParent, opened } = folderOf(files);
    const { disk } = await openCollecting(memoryReader(child), { openParent });
    expect((await readDisk(disk)).equals(patternOf(1, 0, 4096))).toBe(true);
    expect(opened).toHaveLength(15);
  });

  test('17 are too many, and all that were opened are closed', async () => {
    const { child, files } = chainOf(17);
    const { openParent, opened } = folderOf(files);
    await expect(openCollecting(memoryReader(child), { openParent })).rejects.toMatchObject({
      kind: 'image',
      context: { found: 'more than 16 generations' },
    });
    expect(opened.every(({ closed }) => closed === 1)).toBe(true);
  });
});

test('an abortion while a parent is opened is the reason of the signal, not a missing parent', async () => {
  const abort = new AbortController();
  const bytes = makeChild(middle, { self: 2, parent: 1, unicodeName: 'base.vhd' });
  const openParent = (): Promise<never> => {
    abort.abort(new Error('enough'));
    return Promise.reject(new Error('the socket was closed'));
  };
  await expect(
    openCollecting(memoryReader(bytes), { openParent, abortSignal: abort.signal }),
  ).rejects.toThrow('enough');
});
