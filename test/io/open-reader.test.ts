/* The same bytes through every kind of place that can be opened: long, as the list of places is. */
import { randomFillSync } from 'node:crypto';
import {
  closeSync,
  constants,
  createWriteStream,
  fstatSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { KIB, MIB } from '../../src/units.js';
import { attachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, writeAt } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { allBytes, bytesAt, opened } from './byte-readers.js';
import { eventually } from './eventually.js';

const content = randomFillSync(Buffer.alloc(3 * MIB + 17));

function image(bytes: Uint8Array = content): string {
  const path = join(temporaryFolder(), 'image');
  writeFileSync(path, bytes);
  return path;
}

function openFd(path: string, flags: string | number = 'r'): number {
  const fd = openSync(path, flags);
  onTestFinished(() => {
    try {
      closeSync(fd);
    } catch {
      // The reader has closed it, as it should.
    }
  });
  return fd;
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

/** How many descriptors of this process lead to that path. */
function descriptorsOf(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  }).length;
}

describe('a file', () => {
  test('at any place, at the same time, as cmp(1) sees it', async (context) => {
    requireTool(context, 'cmp');
    const path = image();
    const reader = await opened(path);
    expect(reader).toMatchObject({ name: path, sizeBytes: content.length, forwardOnly: false });
    const parts = await Promise.all(
      Array.from({ length: Math.ceil(content.length / 9999) }, (_, index) =>
        bytesAt(reader, index * 9999, Math.min(9999, content.length - index * 9999)),
      ),
    );
    const copy = `${path}.copy`;
    writeFileSync(copy, Buffer.concat(parts));
    expect(runJudge('cmp', [path, copy])).toMatchObject({ exitCode: 0 });
    parts[17]?.fill(0, 5, 6);
    writeFileSync(copy, Buffer.concat(parts));
    expect(runJudge('cmp', [path, copy])).toMatchObject({ exitCode: 1 });
  });

  test('beyond 4 GiB', async () => {
    const path = createSparse(join(temporaryFolder(), 'image'), 5 * 1024 * MIB + 3);
    writeAt(path, 5 * 1024 * MIB, Buffer.from('end'));
    const reader = await opened(path);
    expect((await bytesAt(reader, 5 * 1024 * MIB - 1, 4)).toString()).toBe('\0end');
  });

  test.each([
    [content.length - 1, 2, '1 bytes'],
    [content.length, 1, '0 bytes'],
    [2 ** 40, 4096, '0 bytes'],
  ])('at %d there are no %d bytes', async (offset, length, found) => {
    const path = image();
    await expect(bytesAt(await opened(path), offset, length)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image ends too early',
      context: {
        path,
        offset,
        found: `${found}: it ends at ${content.length}`,
        expected: `${length} bytes`,
      },
    });
  });

  test.each([-1, 0.5, Number.NaN, -Infinity, Infinity, 2 ** 53])(
    'a place that cannot be: %d',
    async (offset) => {
      const reader = await opened(image());
      await expect(bytesAt(reader, offset, 1)).rejects.toMatchObject({
        kind: 'image',
        message: 'a place that no image has',
      });
    },
  );

  test('that became shorter', async () => {
    const path = image();
    const reader = await opened(path);
    truncateSync(path, 1000);
    await expect(bytesAt(reader, 900, 200)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image became shorter while it was read',
      context: { offset: 1000, expected: `${content.length} bytes, as when it was opened` },
    });
  });

  test('without bytes', async () => {
    const reader = await opened(image(new Uint8Array()));
    expect(reader.sizeBytes).toBe(0);
    await bytesAt(reader, 0, 0);
    await expect(bytesAt(reader, 0, 1)).rejects.toMatchObject({ kind: 'image' });
  });

  test('closing waits for reads, and leaves no descriptor', async () => {
    // Longer than one read of the system, so that the descriptor is needed again after close was called.
    const path = createSparse(join(temporaryFolder(), 'image'), 20 * MIB);
    writeAt(path, 16 * MIB, content);
    const reader = await opened(path);
    expect(descriptorsOf(path)).toBe(1);
    const reading = Array.from({ length: 3 }, () => bytesAt(reader, 0, 20 * MIB));
    await Promise.all([reader.close(), reader.close()]);
    expect(descriptorsOf(path)).toBe(0);
    for (const read of await Promise.all(reading)) expect(read.indexOf(content)).toBe(16 * MIB);
    await expect(bytesAt(reader, 0, 1)).rejects.toMatchObject({
      kind: 'usage',
      message: 'the image is closed',
    });
  });

  test('an abort: before it is opened, and from then on', async () => {
    const reason = new Error('stop it');
    const path = image();
    await expect(opened(path, { abortSignal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(descriptorsOf(path)).toBe(0);
    const stop = new AbortController();
    const reader = await opened(path, { abortSignal: stop.signal });
    const reading = bytesAt(reader, 0, content.length);
    stop.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await expect(bytesAt(reader, 0, 1)).rejects.toBe(reason);
  });
});

describe('what cannot be opened is an error of kind usage', () => {
  test.for<[string, (folder: string) => string, string]>([
    ['nothing', (folder) => join(folder, 'nothing'), 'ENOENT'],
    ['a folder', (folder) => folder, 'it is a folder'],
    ['a character device', () => '/dev/zero', 'it is a character device'],
    ['a name that no file has', () => 'a\0b', 'null bytes'],
    ['a path through a file', (folder) => `${folder}/file/x`, 'ENOTDIR'],
  ])('%s', async ([, pathIn, found]) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), 'x');
    await expect(opened(pathIn(folder))).rejects.toMatchObject({
      kind: 'usage',
      message: 'the image cannot be opened',
      context: { found: expect.stringContaining(found) as unknown },
    });
  });

  test('a socket', async () => {
    const path = join(temporaryFolder(), 'socket');
    const server = createServer();
    await new Promise<void>((done) => server.listen(path, done));
    onTestFinished(() => void server.close());
    await expect(opened(path)).rejects.toMatchObject({ kind: 'usage' });
  });

  test('a descriptor that is not open, or one of a folder', async () => {
    await expect(opened({ fd: 999_999, name: 'x' })).rejects.toMatchObject({ kind: 'usage' });
    const fd = openFd(temporaryFolder());
    await expect(opened({ fd, name: 'x' })).rejects.toMatchObject({ kind: 'usage' });
    expect(isOpen(fd)).toBe(true);
  });

  test.each(['ftp://user:secret@host/x', 'no URL', 'https://'])('a URL: %s', async (url) => {
    const failed: unknown = await opened({ url }).catch((error: unknown) => error);
    expect(failed).toMatchObject({ kind: 'usage', message: 'the image has no usable URL' });
    expect(JSON.stringify(failed)).not.toContain('secret');
  });

  test.each([-1, Number.NaN, Infinity])('an idle time of %d', async (idleMilliseconds) => {
    await expect(opened(image(), { idleMilliseconds })).rejects.toMatchObject({ kind: 'usage' });
  });
});

describe('a descriptor', () => {
  test('of a file: from where it stands, which does not move, and it stays open', async () => {
    const fd = openFd(image());
    readSync(fd, Buffer.alloc(1000), 0, 1000, null);
    const reader = await opened({ fd, name: 'standard input' });
    expect(reader).toMatchObject({
      name: 'standard input',
      sizeBytes: content.length - 1000,
      forwardOnly: false,
    });
    expect((await bytesAt(reader, 5, 9000)).equals(content.subarray(1005, 10_005))).toBe(true);
    await expect(bytesAt(reader, content.length - 1000, 1)).rejects.toMatchObject({ kind: 'image' });
    const next = Buffer.alloc(1);
    readSync(fd, next, 0, 1, null);
    expect(next[0]).toBe(content[1000]);
    await reader.close();
    expect(isOpen(fd)).toBe(true);
  });

  test('that is for writing only: an error of kind image', async () => {
    const reader = await opened({ fd: openFd(image(), 'r+'), name: 'x' });
    await bytesAt(reader, 0, 1);
    const path = image();
    const writeOnly = await opened({ fd: openFd(path, constants.O_WRONLY), name: 'x' });
    await expect(bytesAt(writeOnly, 0, 1)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image could not be read',
      context: { found: expect.stringContaining('EBADF') as unknown },
    });
  });
});

describe('a named pipe', () => {
  function makeFifo(): string {
    const path = join(temporaryFolder(), 'pipe');
    expect(runJudge('mkfifo', [path]).exitCode).toBe(0);
    return path;
  }

  test('by its path, opened before there is a writer', async (context) => {
    requireTool(context, 'mkfifo');
    const path = makeFifo();
    const reader = await opened(path);
    expect(reader).toMatchObject({ name: path, sizeBytes: undefined, forwardOnly: true });
    const first = bytesAt(reader, 100, 10);
    await new Promise((resolve) => setTimeout(resolve, 50));
    createWriteStream(path).end(content);
    expect((await first).equals(content.subarray(100, 110))).toBe(true);
    for await (const piece of allBytes(reader, content.length, 100_001)) {
      expect(piece.length).toBeGreaterThan(0);
    }
    expect((await bytesAt(reader, 0, content.length)).equals(content)).toBe(true);
    await expect(bytesAt(reader, content.length - 1, 2)).rejects.toMatchObject({
      context: { found: `1 bytes: it ends at ${content.length}` },
    });
    await reader.close();
    await eventually(() => expect(descriptorsOf(path)).toBe(0));
  });

  test('a silent one: an abort, an idle time, and close end the wait', async (context) => {
    requireTool(context, 'mkfifo');
    const path = makeFifo();
    const writer = openFd(path, 'r+');
    const reason = new Error('stop it');
    const stop = new AbortController();
    const reader = await opened(path, { abortSignal: stop.signal });
    const waiting = bytesAt(reader, 0, 1);
    setTimeout(() => stop.abort(reason), 20);
    await expect(waiting).rejects.toBe(reason);

    const idle = await opened(path, { idleMilliseconds: 50 });
    await expect(bytesAt(idle, 0, 1)).rejects.toMatchObject({
      kind: 'image',
      message: 'the image does not go on',
    });

    const fd = openFd(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const closed = await opened({ fd, name: 'standard input' });
    const read = expect(bytesAt(closed, 0, 1)).rejects.toMatchObject({ kind: 'usage' });
    setTimeout(() => void closed.close(), 20);
    await read;
    await eventually(() => expect(isOpen(fd)).toBe(false));
    expect(isOpen(writer)).toBe(true);
  });

  test('one that was never read is closed, too', async (context) => {
    requireTool(context, 'mkfifo');
    const path = makeFifo();
    const reader = await opened(path);
    expect(descriptorsOf(path)).toBe(1);
    await reader.close();
    await eventually(() => expect(descriptorsOf(path)).toBe(0));
  });
});

describe('a block device', () => {
  test('with the size that blockdev(8) says, at places that are no sectors', async (context) => {
    requireLoopDevices(context);
    requireTool(context, 'blockdev');
    const device = attachLoop(image(content.subarray(0, 3 * MIB)));
    const reader = await opened(device);
    const said = Number(runJudge('blockdev', ['--getsize64', device]).stdout);
    expect(said).toBe(3 * MIB);
    expect(reader).toMatchObject({ name: device, sizeBytes: said, forwardOnly: false });
    expect((await bytesAt(reader, 1025, 70_001)).equals(content.subarray(1025, 71_026))).toBe(true);
    expect((await bytesAt(reader, 3 * MIB - 5, 5)).equals(content.subarray(3 * MIB - 5, 3 * MIB))).toBe(true);
    await expect(bytesAt(reader, 3 * MIB - 5, 6)).rejects.toMatchObject({ kind: 'image' });

    const fd = openFd(device);
    readSync(fd, Buffer.alloc(4 * KIB), 0, 4 * KIB, null);
    const rest = await opened({ fd, name: 'standard input' });
    expect(rest.sizeBytes).toBe(3 * MIB - 4 * KIB);
    expect((await bytesAt(rest, 1, 10)).equals(content.subarray(4097, 4107))).toBe(true);
  });
});
