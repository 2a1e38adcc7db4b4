/*
 * What storage answers when it breaks, as its drivers may (EIO at any call), which no disk at hand does when asked to:
 * the calls themselves are made to fail here. What was acknowledged stays, what was refused has not happened.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import { open as openFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Database, JOURNAL_FILE } from '../../src/pool/database.js';
import { FolderRepository } from '../../src/pool/folder-repository.js';
import { exportDisk } from '../../src/pool/open-export.js';
import { MIB } from '../../src/units.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { filesOf, inChunks, openAt, srRef, testPool } from './test-pool.js';

afterEach(() => vi.restoreAllMocks());

const inputOutputError = (): Error => Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });

/** What every open file of this process has in common. */
async function fileHandles(): Promise<FileHandle> {
  const file = await openFile('/dev/null');
  await file.close();
  return Object.getPrototypeOf(file) as FileHandle;
}

describe('the journal', () => {
  const open = (folder: string, slackBytes: number) =>
    Database.open({ folder, newUuid: randomUUID, slackBytes });
  const labels = (database: Database): string[] => database.all('SR').map(([, { name_label }]) => name_label);
  const add = (database: Database, name_label: string): Promise<string> =>
    database.change((draft) => draft.create('SR', { uuid: randomUUID(), name_label }));

  async function afterRestart(folder: string): Promise<string[]> {
    const { database, torn } = await open(folder, MIB);
    expect(torn).toBeUndefined();
    const found = labels(database);
    await database.close();
    return found;
  }

  test('that cannot be stored takes the change back', async () => {
    const folder = temporaryFolder();
    const { database } = await open(folder, MIB);
    await add(database, 'before');
    vi.spyOn(await fileHandles(), 'datasync').mockRejectedValueOnce(inputOutputError());
    await expect(add(database, 'failed')).rejects.toMatchObject({ kind: 'sink' });
    expect(labels(database)).toEqual(['before']);
    await add(database, 'after');
    await database.close();
    expect(await afterRestart(folder)).toEqual(['before', 'after']);
  });

  test('that can neither be stored nor cut off is given up, and the next change begins a new one', async () => {
    const folder = temporaryFolder();
    const { database } = await open(folder, MIB);
    await add(database, 'before');
    const handles = await fileHandles();
    vi.spyOn(handles, 'datasync').mockRejectedValueOnce(inputOutputError());
    const cutOff = vi.spyOn(handles, 'truncate').mockRejectedValueOnce(inputOutputError());
    await expect(add(database, 'failed')).rejects.toMatchObject({ kind: 'sink' });
    expect(cutOff).toHaveBeenCalledOnce();
    expect(labels(database)).toEqual(['before']);
    await add(database, 'after');
    await database.close();
    expect(await afterRestart(folder)).toEqual(['before', 'after']);
  });

  test('that cannot be written anew goes on growing, and loses nothing', async () => {
    const folder = temporaryFolder();
    const { database } = await open(folder, 0);
    // Something stands where the new one would be made, and is no file that could be removed.
    const inTheWay = join(folder, `${JOURNAL_FILE}.new`);
    mkdirSync(inTheWay);
    const names = Array.from({ length: 20 }, (_, number) => `SR ${number}`);
    const sizes = [];
    for (const name of names) {
      await add(database, name);
      sizes.push(statSync(join(folder, JOURNAL_FILE)).size);
    }
    expect(sizes).toEqual(sizes.toSorted((one, other) => one - other));
    expect(labels(database)).toEqual(names);
    await database.close();
    rmdirSync(inTheWay);
    expect(await afterRestart(folder)).toEqual(names);
  });
});

describe('a disk', () => {
  test('that cannot be removed is one still, and goes when it is asked for again', async () => {
    const { pool, place } = await testPool();
    const ref = await pool.vdis.create({ sr: srRef(pool, 'one'), nameLabel: 'disk', virtualSize: 4 * MIB });
    const content = Buffer.alloc(4 * MIB, 7);
    await pool.vdis.import(ref, inChunks(content), { format: 'raw', contentLength: content.length });
    const destroy = vi
      .spyOn(FolderRepository.prototype, 'destroyVdi')
      .mockRejectedValueOnce(inputOutputError());
    await expect(pool.vdis.destroy(ref)).rejects.toThrow('EIO');
    expect(destroy).toHaveBeenCalledOnce();
    expect(pool.database.get('VDI', ref)).toMatchObject({ state: 'ready' });
    const disk = await pool.vdis.export(ref, 'raw');
    const parts: Uint8Array[] = [];
    for await (const part of disk.stream()) parts.push(part);
    await disk.close();
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    await pool.vdis.destroy(ref);
    expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
  });

  test('that can neither be removed nor looked at is decided on by the next start', async () => {
    const { pool, place } = await testPool();
    const ref = await pool.vdis.create({ sr: srRef(pool, 'one'), nameLabel: 'disk', virtualSize: 4 * MIB });
    vi.spyOn(FolderRepository.prototype, 'destroyVdi').mockRejectedValueOnce(inputOutputError());
    vi.spyOn(FolderRepository.prototype, 'vdiFacts').mockRejectedValueOnce(inputOutputError());
    await expect(pool.vdis.destroy(ref)).rejects.toThrow('EIO');
    expect(pool.database.get('VDI', ref)).toMatchObject({ state: 'destroying' });
    await pool.close();
    const again = await openAt(place);
    expect([filesOf(place), again.database.getAll('VDI')]).toEqual([[], []]);
    await again.close();
  });

  test('that cannot be looked at when it has been made leaves no record, and its room is free again', async () => {
    const { pool, place } = await testPool({ quotaBytes: 9 * MIB });
    const request = { sr: srRef(pool, 'one'), nameLabel: 'disk', virtualSize: 8 * MIB };
    const facts = vi.spyOn(FolderRepository.prototype, 'vdiFacts').mockRejectedValueOnce(inputOutputError());
    await expect(pool.vdis.create(request)).rejects.toThrow('EIO');
    expect(facts).toHaveBeenCalledOnce();
    expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
    await pool.vdis.create(request);
    expect(filesOf(place)).toHaveLength(1);
  });

  test('whose export cannot begin is closed', async () => {
    const close = vi.fn<() => Promise<void>>(() => Promise.resolve());
    const disk = {
      name: 'a disk',
      sizeBytes: 4 * MIB,
      forwardOnly: false,
      readInto: () => Promise.reject(inputOutputError()),
      close,
    };
    const identity = { uniqueId: new Uint8Array(16).fill(1), createdSeconds: 1_700_000_000 };
    const request = { sizeBytes: 4 * MIB, identity };
    await expect(exportDisk(disk, { ...request, format: 'vhd' }, {})).rejects.toThrow('EIO');
    expect(close).toHaveBeenCalledOnce();
    const raw = await exportDisk(disk, { ...request, format: 'raw' }, {});
    expect(close).toHaveBeenCalledOnce();
    await raw.close();
    expect(close).toHaveBeenCalledTimes(2);
  });
});
