import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { FileSink } from '../../src/io/file-sink.js';
import type { Sink } from '../../src/io/sink.js';
import { MIB } from '../../src/units.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

const image = payloadBytes(0, 10_000);

function sinkFor(path: string, force = false): Sink {
  const sink = new FileSink(path, force);
  onTestFinished(() => sink.discard());
  return sink;
}

const failure = (properties: Record<string, unknown>): Error =>
  expect.objectContaining(properties) as unknown as Error;

describe('a file', () => {
  test('has its final name only when it is complete, and then its bytes, exactly', async () => {
    const folder = temporaryFolder();
    const sink = sinkFor(join(folder, 'a.vhd'));
    sink.write(image.subarray(5000), 5000);
    sink.write(image.subarray(0, 4000), 0);
    await sink.flush();
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^\.a\.vhd\.patch-vdi-.*\.tmp$/)]);
    sink.write(image.subarray(4000, 5000), 4000);
    await sink.commit(image.length);
    expect(readdirSync(folder)).toEqual(['a.vhd']);
    expect(readFileSync(join(folder, 'a.vhd')).equals(image)).toBe(true);
  });

  test('has zeros where nothing was written, and the length that was promised', async () => {
    const path = join(temporaryFolder(), 'a.raw');
    const sink = sinkFor(path);
    sink.write(image.subarray(0, 10), 100);
    sink.writeZeros(110, 890);
    await sink.commit(MIB);
    const content = readFileSync(path);
    expect(content).toHaveLength(MIB);
    expect(content.subarray(100, 110).equals(image.subarray(0, 10))).toBe(true);
    expect(content.filter((byte) => byte !== 0)).toHaveLength(10);
  });

  test('gives every write back as soon as it is taken', () => {
    const sink = sinkFor(join(temporaryFolder(), 'a.raw'));
    const returned: number[] = [];
    sink.write(image, 0, () => returned.push(1));
    sink.write(image, 20_000, () => returned.push(2));
    expect(returned).toEqual([1, 2]);
    expect(sink.drained()).toBeUndefined();
  });

  test('may be read by others as the umask says', async () => {
    const path = join(temporaryFolder(), 'a.raw');
    const before = process.umask(0o027);
    onTestFinished(() => void process.umask(before));
    await sinkFor(path).commit(10);
    expect(lstatSync(path).mode & 0o777).toBe(0o640);
  });

  test('that was given up leaves nothing; giving up twice, or after the end, harms nothing', async () => {
    const folder = temporaryFolder();
    const sink = sinkFor(join(folder, 'a.raw'));
    sink.write(image, 0);
    await sink.discard();
    await sink.discard();
    expect(readdirSync(folder)).toEqual([]);

    const complete = sinkFor(join(folder, 'b.raw'));
    complete.write(image, 0);
    await complete.commit(image.length);
    await complete.discard();
    expect(readFileSync(join(folder, 'b.raw')).equals(image)).toBe(true);
  });

  test('that somebody removed while it grew can still be given up', async () => {
    const folder = temporaryFolder();
    const sink = sinkFor(join(folder, 'a.raw'));
    for (const name of readdirSync(folder)) unlinkSync(join(folder, name));
    await expect(sink.discard()).resolves.toBeUndefined();
  });
});

test('a file that somebody put in the place of ours does not get the final name', async () => {
  const folder = temporaryFolder();
  const sink = sinkFor(join(folder, 'a.raw'));
  sink.write(image, 0);
  const [temporary = ''] = readdirSync(folder);
  unlinkSync(join(folder, temporary));
  writeFileSync(join(folder, temporary), 'something else');
  await expect(sink.commit(image.length)).rejects.toMatchObject({
    kind: 'sink',
    message: 'the output was replaced while it was being built',
    context: { found: 'a file that is not the one we wrote' },
  });
  expect(readdirSync(folder)).not.toContain('a.raw');
});

describe('of two builders', () => {
  test('exactly one wins, and the other one is told', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'a.raw');
    const [first, second] = [sinkFor(path), sinkFor(path)];
    first.write(Buffer.from('first'), 0);
    second.write(Buffer.from('second'), 0);
    const ends = await Promise.allSettled([first.commit(5), second.commit(6)]);
    const lost = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
    expect(lost).toEqual([
      failure({ kind: 'usage', message: 'the output appeared while it was being built' }),
    ]);
    const winner = ends[0].status === 'fulfilled' ? 'first' : 'second';
    expect(readFileSync(path, 'utf8')).toBe(winner);
    await Promise.all([first.discard(), second.discard()]);
    expect(readdirSync(folder)).toEqual(['a.raw']);
  });

  test('with force the last one wins, and what was there stays whole until then', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'a.raw');
    writeFileSync(path, 'before');
    const reader = openSync(path, 'r');
    onTestFinished(() => closeSync(reader));
    const sink = sinkFor(path, true);
    sink.write(image, 0);
    await sink.flush();
    expect(readFileSync(path, 'utf8')).toBe('before');
    await sink.commit(image.length);
    expect(readFileSync(path).equals(image)).toBe(true);
    expect(readdirSync(folder)).toEqual(['a.raw']);
    // It was replaced, not overwritten: who had it open still has the old one.
    const old = Buffer.alloc(6);
    expect(readSync(reader, old)).toBe(6);
    expect(old.toString()).toBe('before');
  });
});

describe('a name that is in use is refused, and nothing is touched', () => {
  test.each([
    ['a file', false, (path: string) => writeFileSync(path, 'x'), 'a file'],
    ['a folder', false, (path: string) => mkdirSync(path), 'a folder'],
    ['a folder, with force', true, (path: string) => mkdirSync(path), 'a folder'],
    [
      'a link that leads nowhere',
      false,
      (path: string) => symlinkSync('/nowhere', path),
      'not a regular file',
    ],
  ])('%s', (_name, force, make, found) => {
    const folder = temporaryFolder();
    make(join(folder, 'a.raw'));
    expect(() => new FileSink(join(folder, 'a.raw'), force)).toThrow(
      failure({
        kind: 'usage',
        message: 'the output exists already',
        context: failure({ found, path: join(folder, 'a.raw') }),
        leftBehind: 'nothing was touched',
      }),
    );
    expect(readdirSync(folder)).toEqual(['a.raw']);
  });

  test('with force a link is replaced, not what it leads to', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'target'), 'precious');
    symlinkSync('target', join(folder, 'a.raw'));
    const sink = sinkFor(join(folder, 'a.raw'), true);
    sink.write(image, 0);
    await sink.commit(image.length);
    expect(readFileSync(join(folder, 'target'), 'utf8')).toBe('precious');
    expect(lstatSync(join(folder, 'a.raw')).isFile()).toBe(true);
  });
});

describe('a place that cannot be used is an error of kind usage with advice', () => {
  test.each([
    ['a folder that is not there', 'no/such/a.raw', /mkdir -p .*no\/such/],
    ['a path through a file', 'file/a.raw', /not a folder/],
    ['a name that is too long', 'n'.repeat(230), /shorter name/],
  ])('%s', (_name, name, hint) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), '');
    expect(() => new FileSink(join(folder, name), false)).toThrow(
      failure({
        kind: 'usage',
        message: 'the output cannot be created',
        hint: expect.stringMatching(hint) as unknown,
        leftBehind: 'nothing was touched',
      }),
    );
    expect(readdirSync(folder)).toEqual(['file']);
  });

  test('a file system that is read-only', async (context) => {
    requireTool(context, 'mount', 'umount');
    requireRoot(context);
    await withSmallDisk(
      MIB,
      (folder) => {
        expect(() => new FileSink(join(folder, 'a.raw'), false)).toThrow(
          failure({ kind: 'usage', hint: 'choose a folder on a file system that is not read-only' }),
        );
      },
      'ro',
    );
  });
});

test('a disk that is full is an error of kind space, and nothing stays behind', async (context) => {
  requireTool(context, 'mount', 'umount');
  requireRoot(context);
  await withSmallDisk(MIB, async (folder) => {
    const sink = new FileSink(join(folder, 'a.raw'), false);
    const overfill = (): void => {
      for (let at = 0; at < 2 * MIB; at += image.length) sink.write(image, at);
    };
    expect(overfill).toThrow(
      failure({
        kind: 'space',
        message: 'there is no room left for the output',
        context: failure({
          path: join(folder, 'a.raw'),
          found: expect.stringContaining('ENOSPC') as unknown,
        }),
      }),
    );
    await sink.discard();
    expect(readdirSync(folder)).toEqual([]);
  });
});

test('a folder that may be written to but not listed is good enough', async (context) => {
  requireRoot(context);
  const nobody = 65_534;
  const folder = temporaryFolder();
  const dropBox = join(folder, 'drop-box');
  mkdirSync(dropBox);
  chmodSync(dropBox, 0o300);
  for (const path of [folder, dropBox]) chownSync(path, nobody, nobody);
  const path = join(dropBox, 'a.raw');
  process.seteuid?.(nobody);
  try {
    const sink = new FileSink(path, false);
    sink.write(image, 0);
    await sink.commit(image.length);
  } finally {
    process.seteuid?.(0);
  }
  expect(readFileSync(path).equals(image)).toBe(true);
  expect(readdirSync(dropBox)).toEqual(['a.raw']);
});
