import { randomUUID } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database, JOURNAL_FILE } from '../../src/pool/database.js';
import { encodeLine } from '../../src/pool/journal-line.js';
import { requireRoot } from '../oracles/require-tool.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const open = (folder: string, slackBytes?: number) =>
  Database.open({ folder, newUuid: randomUUID, ...(slackBytes === undefined ? {} : { slackBytes }) });

/** The names of all SRs: the state of these tests. */
const labels = (database: Database): string[] => database.all('SR').map(([, { name_label }]) => name_label);

const add = (database: Database, name_label: string): Promise<string> =>
  database.change((draft) => draft.create('SR', { uuid: randomUUID(), name_label }));

/** A journal with so many SRs in it, one a line. */
async function journalOf(count: number): Promise<{ folder: string; path: string; lines: string[] }> {
  const folder = temporaryFolder();
  const { database } = await open(folder);
  for (let number = 0; number < count; number += 1) await add(database, `SR ${number}`);
  await database.close();
  const path = join(folder, JOURNAL_FILE);
  return { folder, path, lines: readFileSync(path, 'utf8').split('\n').slice(0, -1) };
}

const state = (count: number): string[] => Array.from({ length: count }, (_, number) => `SR ${number}`);

test('what was acknowledged is there after a restart; volatile fields and derived ones are not stored', async () => {
  const folder = temporaryFolder();
  const { database } = await open(folder);
  const ref = await add(database, 'a\n"b"\u2028é');
  database.touch('SR', ref, { physical_size: 7 });
  const vdi = await database.change((draft) => draft.create('VDI', { uuid: randomUUID(), SR: ref }));
  expect(database.get('SR', ref)).toMatchObject({ physical_size: 7, VDIs: [vdi] });
  const { generation } = database;
  await database.close();
  const again = await open(folder);
  expect(again.torn).toBeUndefined();
  expect(again.database.get('SR', ref)).toMatchObject({
    physical_size: 0,
    VDIs: [vdi],
    name_label: 'a\n"b"\u2028é',
  });
  expect(again.database.generation).toBeLessThanOrEqual(generation);
  expect(again.database.incarnation).not.toBe(database.incarnation);
  await again.database.close();
});

test('a change whose work throws has not happened', async () => {
  const { database } = await open(temporaryFolder());
  const failed = database.change((draft) => {
    draft.create('SR', { name_label: 'x' });
    expect(draft.all('SR')).toHaveLength(1);
    throw new Error('no');
  });
  await expect(failed).rejects.toThrow('no');
  expect(labels(database)).toEqual([]);
  await database.close();
});

test('cut at every byte of its last line, the journal opens without that line and says what it cut off', async () => {
  const { path, folder, lines } = await journalOf(3);
  const whole = readFileSync(path);
  const last = Buffer.byteLength(lines.at(-1) ?? '') + 1;
  for (let cut = 1; cut < last; cut += 7) {
    writeFileSync(path, whole.subarray(0, whole.length - cut));
    const { database, torn } = await open(folder);
    expect(labels(database)).toEqual(state(2));
    expect(torn).toEqual({ path, line: lines.length, offset: whole.length - last, bytes: last - cut });
    // And it goes on from there.
    await add(database, 'SR 2');
    await database.close();
    const again = await open(folder);
    expect([labels(again.database), again.torn]).toEqual([state(3), undefined]);
    await again.database.close();
  }
});

test('an end of NULs, as a power failure leaves it, is cut off', async () => {
  const { path, folder } = await journalOf(3);
  for (const end of ['\0'.repeat(5000), `0123456789abcdef {"g":\0\0\0\n`]) {
    appendFileSync(path, end);
    const { database, torn } = await open(folder);
    expect([labels(database), torn?.bytes]).toEqual([state(3), end.length]);
    await database.close();
  }
});

test('one flipped byte in any line but a torn last one: it refuses to start, and names file, line, found, expected', async () => {
  const { path, folder, lines } = await journalOf(4);
  const whole = readFileSync(path);
  let offset = 0;
  for (const [index, line] of lines.entries()) {
    for (const at of [0, 15, 16, 17, Math.floor(line.length / 2), line.length - 1]) {
      const bytes = Buffer.from(whole);
      bytes[offset + at] = (bytes[offset + at] ?? 0) ^ 1;
      writeFileSync(path, bytes);
      await expect(open(folder), `line ${index + 1}, byte ${at}`).rejects.toMatchObject({
        kind: 'image',
        message: `the state of the pool is damaged in line ${index + 1}`,
        context: {
          path,
          offset,
          found: expect.any(String) as string,
          expected: expect.any(String) as string,
        },
      });
      // Nothing was touched.
      expect(readFileSync(path).equals(bytes)).toBe(true);
    }
    offset += Buffer.byteLength(line) + 1;
  }
});

test.for([
  ['lost', (lines: string[]) => lines.filter((_, index) => index !== 3)],
  ['twice', (lines: string[]) => lines.flatMap((line, index) => (index === 3 ? [line, line] : [line]))],
  ['swapped', (lines: string[]) => [...lines.slice(0, 2), lines[3] ?? '', lines[2] ?? '', ...lines.slice(4)]],
] as const)('a line that is %s is damage', async ([, change]) => {
  const { path, folder, lines } = await journalOf(4);
  writeFileSync(path, `${change(lines).join('\n')}\n`);
  await expect(open(folder)).rejects.toMatchObject({ kind: 'image', message: /damaged in line/ });
});

test.for([
  ['of an unknown class', ['VM', 'OpaqueRef:x', {}], 'a record of the class "VM"'],
  ['with an unknown field', ['SR', 'OpaqueRef:x', { colour: 'red' }], 'a SR with an unknown field "colour"'],
  [
    'with a number for a text',
    ['SR', 'OpaqueRef:x', { name_label: 7 }],
    'a SR whose name_label is no string',
  ],
  ['that is no triple', ['SR'], 'a change that is no triple'],
] as const)(
  'a record %s, rightly stored by another version: it refuses to start',
  async ([, change, found]) => {
    const { path, folder, lines } = await journalOf(1);
    const link = lines.at(-1)?.slice(0, 16) ?? '';
    appendFileSync(path, encodeLine(link, { g: 9, c: [change] }).text);
    await expect(open(folder)).rejects.toMatchObject({ kind: 'image', context: { path, found } });
  },
);

test('an empty journal, and one of another program, are refused', async () => {
  const { path, folder } = await journalOf(1);
  truncateSync(path, 0);
  await expect(open(folder)).rejects.toMatchObject({ kind: 'image', context: { found: 'no line' } });
  writeFileSync(path, '# my notes\nmore\n');
  await expect(open(folder)).rejects.toMatchObject({ kind: 'image', message: /line 1/ });
});

test('however many changes there are, the file is bounded by its state, and nothing is lost', async () => {
  const folder = temporaryFolder();
  const { database } = await open(folder, 4096);
  const ref = await add(database, 'busy');
  await add(database, 'calm');
  let largest = 0;
  for (let count = 0; count < 300; count += 1) {
    await database.change((draft) => draft.update('SR', ref, { name_description: `${count}` }));
    largest = Math.max(largest, statSync(join(folder, JOURNAL_FILE)).size);
  }
  await database.close();
  expect(largest).toBeLessThan(4096 + 3 * 2000);
  expect(readdirSync(folder).sort()).toEqual([JOURNAL_FILE, `${JOURNAL_FILE}.reserve`]);
  const again = await open(folder);
  expect(labels(again.database)).toEqual(['busy', 'calm']);
  expect(again.database.get('SR', ref).name_description).toBe('299');
  await again.database.close();
});

test('a copy of the journal taken at any time is a journal: every acknowledged change is in it', async () => {
  const folder = temporaryFolder();
  const copy = temporaryFolder();
  const { database } = await open(folder, 2048);
  for (let count = 0; count < 40; count += 1) {
    await add(database, `SR ${count}`);
    copyFileSync(join(folder, JOURNAL_FILE), join(copy, JOURNAL_FILE));
    const copied = await open(copy);
    expect(labels(copied.database)).toEqual(state(count + 1));
    await copied.database.close();
  }
  await database.close();
});

test('a full disk: the change is refused and has not happened; what undoes something uses the reserve', async (context) => {
  requireRoot(context);
  await withSmallDisk(512 * 1024, async (folder) => {
    const { database } = await open(folder);
    const first = await add(database, 'first');
    const text = 'x'.repeat(20_000);
    let count = 0;
    const fill = async (): Promise<void> => {
      for (; count < 100; count += 1) await add(database, `${count} ${text}`);
    };
    await expect(fill()).rejects.toMatchObject({ kind: 'space' });
    expect(count).toBeGreaterThan(3);
    expect(labels(database)).toHaveLength(count + 1);
    writeFileSync(join(folder, 'filler'), '');
    expect(() => {
      for (;;) appendFileSync(join(folder, 'filler'), Buffer.alloc(4096));
    }).toThrow(/ENOSPC/);
    await expect(add(database, text)).rejects.toMatchObject({ kind: 'space' });
    await database.change((draft) => draft.remove('SR', first), true);
    await database.close();
    const again = await open(folder);
    expect(again.torn).toBeUndefined();
    expect(labels(again.database)).toHaveLength(count);
    await again.database.close();
  });
});

test('changes since a generation: each record once, as it is now; too long ago is said', async () => {
  const { database } = await open(temporaryFolder());
  const start = database.generation;
  const seen: number[] = [];
  const stop = database.subscribe((generation) => seen.push(generation));
  const a = await add(database, 'a');
  const between = database.generation;
  const b = await add(database, 'b');
  await database.change((draft) => draft.update('SR', a, { name_label: 'A' }));
  const gone = await add(database, 'gone');
  await database.change((draft) => draft.remove('SR', gone));
  expect(database.changesSince(start)?.map(({ ref, operation }) => [ref, operation])).toEqual([
    [b, 'add'],
    [a, 'add'],
  ]);
  expect(database.changesSince(between)).toMatchObject([
    { ref: b, operation: 'add', record: { name_label: 'b' } },
    { ref: a, operation: 'mod', record: { name_label: 'A' } },
  ]);
  await database.change((draft) => draft.remove('SR', a));
  expect(database.changesSince(between)).toMatchObject([
    { ref: b, operation: 'add' },
    { ref: a, operation: 'del', record: undefined },
  ]);
  expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
  stop();
  expect(database.changesSince(-1)).toBeUndefined();
  await database.close();
});

test('getters give what a client may see, and errors of the XenAPI', async () => {
  const { database } = await open(temporaryFolder());
  const uuid = randomUUID();
  const ref = await database.change((draft) =>
    draft.create('pool_patch', { uuid, name_label: 'n', filename: '/secret', size: 5 }),
  );
  expect(database.getAllRecords('pool_patch')).toEqual({ [ref]: database.getRecord('pool_patch', ref) });
  expect(Object.keys(database.getRecord('pool_patch', ref))).not.toContain('filename');
  expect(database.getByUuid('pool_patch', uuid.toUpperCase())).toBe(ref);
  expect(database.getByNameLabel('pool_patch', 'n')).toEqual([ref]);
  expect(database.getField('pool_patch', ref, 'size')).toBe(5);
  for (const field of ['filename', 'constructor', 'nothing']) {
    expect(() => database.getField('pool_patch', ref, field)).toThrow(
      `MESSAGE_METHOD_UNKNOWN: pool_patch.get_${field}`,
    );
  }
  expect(() => database.getRecord('pool_patch', 'x')).toThrow('HANDLE_INVALID: pool_patch: x');
  expect(() => database.getByUuid('VDI', uuid)).toThrow(`UUID_INVALID: VDI: ${uuid}`);
  await database.close();
});

test('a change that no start could read is refused, and nothing has happened', async () => {
  const folder = temporaryFolder();
  const { database } = await open(folder);
  await add(database, 'before');
  await expect(add(database, 'x'.repeat(16 * 1024 * 1024))).rejects.toMatchObject({
    kind: 'space',
    message: 'a change of the state of the pool is too large',
  });
  await add(database, 'after');
  expect(labels(database)).toEqual(['before', 'after']);
  await database.close();
  const again = await open(folder);
  expect([again.torn, labels(again.database)]).toEqual([undefined, ['before', 'after']]);
  await again.database.close();
});
