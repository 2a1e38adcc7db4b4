import { closeSync, fstatSync, openSync, readFileSync, readSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Chunk } from '../../src/io/chunk.js';
import { FileSource } from '../../src/io/file-source.js';
import { MIB } from '../../src/units.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';
import { eventually } from './eventually.js';

const never = new AbortController().signal;
const reason = new Error('stop it');
/** Five full reads and a bit, with only four buffers. */
const upload = payloadBytes(0, 5 * MIB + 7);

function openUpload(bytes: Uint8Array = upload): { path: string; fd: number } {
  const path = join(temporaryFolder(), 'upload');
  writeFileSync(path, bytes);
  const fd = openSync(path, 'r');
  onTestFinished(() => {
    try {
      closeSync(fd);
    } catch {
      // The source has closed it, as it should.
    }
  });
  return { path, fd };
}

async function collect(source: FileSource): Promise<Buffer> {
  const parts: Buffer[] = [];
  await source.pump(({ bytes, release }) => {
    parts.push(Buffer.from(bytes));
    release();
  }, never);
  return Buffer.concat(parts);
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

describe('the bytes', () => {
  test.each([
    ['from the start', 0],
    ['from the middle', 3 * MIB + 5],
    ['from the end', upload.length],
  ])('%s of the file to its end', async (_name, startOffset) => {
    const { path, fd } = openUpload();
    const source = new FileSource(path, fd, upload.length - startOffset, startOffset);
    expect((await collect(source)).equals(upload.subarray(startOffset))).toBe(true);
  });

  test('from where a shared descriptor stands', async () => {
    const { path, fd } = openUpload();
    readSync(fd, Buffer.alloc(1000), 0, 1000, null);
    expect((await collect(new FileSource(path, fd, undefined, null))).equals(upload.subarray(1000))).toBe(
      true,
    );
  });

  test('stay as they are until they are released: with all buffers held, the source waits', async () => {
    const { path, fd } = openUpload();
    const held: Chunk[] = [];
    const pumping = new FileSource(path, fd, undefined, 0).pump((chunk) => void held.push(chunk), never);
    await eventually(() => expect(held).toHaveLength(4));
    let at = 0;
    while (at < upload.length) {
      await eventually(() => expect(held.length).toBeGreaterThan(0));
      for (const { bytes, release } of held.splice(0)) {
        expect(Buffer.from(bytes).equals(upload.subarray(at, at + bytes.length))).toBe(true);
        at += bytes.length;
        release();
      }
    }
    await pumping;
    expect(held).toEqual([]);
  });

  test('are read ahead while the receiver writes the ones before in this thread', async () => {
    const { path, fd } = openUpload();
    const position = () => Number(/pos:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]);
    const pauses = new Int32Array(new SharedArrayBuffer(4));
    let first: number | undefined;
    await new FileSource(path, fd, undefined, null).pump(({ bytes, release }) => {
      const end = performance.now() + 20_000;
      // Nothing of this thread runs meanwhile.
      while (first === undefined && position() <= bytes.length && performance.now() < end)
        Atomics.wait(pauses, 0, 0, 5);
      first ??= position();
      release();
      return undefined;
    }, never);
    expect(first).toBe(2 * MIB);
  });

  test('end where the file ends now, whatever its length was', async () => {
    const { path, fd } = openUpload();
    truncateSync(path, 1234);
    expect(await collect(new FileSource(path, fd, upload.length, 0))).toHaveLength(1234);
  });
});

describe('an abort', () => {
  test('before the start: nothing is read', async () => {
    const { path, fd } = openUpload();
    const receive = vi.fn<() => void>();
    const source = new FileSource(path, fd, undefined, 0);
    await expect(source.pump(receive, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(receive).not.toHaveBeenCalled();
  });

  test('between two chunks', async () => {
    const { path, fd } = openUpload();
    const stop = new AbortController();
    const receive = vi.fn<(chunk: Chunk) => void>(({ release }) => {
      release();
      stop.abort(reason);
    });
    await expect(new FileSource(path, fd, undefined, 0).pump(receive, stop.signal)).rejects.toBe(reason);
    expect(receive).toHaveBeenCalledTimes(1);
  });

  test('by the receiver that holds the last buffer', async () => {
    const { path, fd } = openUpload();
    const stop = new AbortController();
    let held = 0;
    const pumping = new FileSource(path, fd, undefined, 0).pump(() => {
      held += 1;
      if (held === 4) stop.abort(reason);
      return undefined;
    }, stop.signal);
    await expect(pumping).rejects.toBe(reason);
  });

  test('while all buffers are held', async () => {
    const { path, fd } = openUpload();
    const stop = new AbortController();
    const held: Chunk[] = [];
    const pumping = new FileSource(path, fd, undefined, 0).pump(
      (chunk) => void held.push(chunk),
      stop.signal,
    );
    await eventually(() => expect(held).toHaveLength(4));
    stop.abort(reason);
    await expect(pumping).rejects.toBe(reason);
  });

  test('while the receiver never answers', async () => {
    const { path, fd } = openUpload();
    const stop = new AbortController();
    const receive = vi.fn<() => Promise<void>>(() => new Promise<void>(() => undefined));
    const pumping = new FileSource(path, fd, undefined, 0).pump(receive, stop.signal);
    await eventually(() => expect(receive).toHaveBeenCalledTimes(1));
    stop.abort(reason);
    await expect(pumping).rejects.toBe(reason);
  });
});

describe('errors', () => {
  test('of the receiver are those of the pump', async () => {
    const { path, fd } = openUpload();
    const fault = new Error('disk full');
    const thrown = new FileSource(path, fd, undefined, 0).pump(() => {
      throw fault;
    }, never);
    await expect(thrown).rejects.toBe(fault);
    const rejected = new FileSource(path, fd, undefined, 0).pump(() => Promise.reject(fault), never);
    await expect(rejected).rejects.toBe(fault);
  });

  test('of reading are of kind upload, and name the file', async () => {
    const folder = temporaryFolder();
    const fd = openSync(folder, 'r');
    const source = new FileSource('the upload', fd, undefined, 0);
    await expect(source.pump(() => undefined, never)).rejects.toMatchObject({
      kind: 'upload',
      message: 'the upload could not be read',
      context: { path: 'the upload', found: expect.stringContaining('EISDIR') as unknown },
    });
    source.close();
  });
});

describe('the descriptor', () => {
  test('is closed with the source that owns it, once', async () => {
    const { path, fd } = openUpload();
    const source = new FileSource(path, fd, undefined, 0);
    await collect(source);
    expect(isOpen(fd)).toBe(true);
    source.close();
    source.close();
    await eventually(() => expect(isOpen(fd)).toBe(false));
  });

  test("stays open when it is somebody else's", async () => {
    const { path, fd } = openUpload();
    const source = new FileSource(path, fd, undefined, 0, false);
    await collect(source);
    source.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(isOpen(fd)).toBe(true);
  });
});
