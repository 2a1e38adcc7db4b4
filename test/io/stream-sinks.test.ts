import {
  appendFileSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Sink } from '../../src/io/sink.js';
import { DescriptorSink, WritableSink, openDescriptorSink } from '../../src/io/stream-sink.js';
import { KIB, MIB } from '../../src/units.js';
import { withSmallDisk } from '../oracles/kernel-mount.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

const image = payloadBytes(0, 300_000);

const failure = (properties: Record<string, unknown>): Error =>
  expect.objectContaining(properties) as unknown as Error;

/** A stream that takes a write only when it is told to. */
function slowStream() {
  const taken: Buffer[] = [];
  const waiting: Array<() => void> = [];
  const stream = new Writable({
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, callback) {
      waiting.push(() => {
        taken.push(Buffer.from(chunk));
        callback();
      });
    },
  });
  const takeOne = async (): Promise<void> => {
    waiting.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { stream, taken, takeOne };
}

async function writeAll(sink: Sink): Promise<void> {
  for (let at = 0; at < image.length; at += 70_000) {
    sink.write(image.subarray(at, at + 70_000), at);
    await sink.drained();
  }
}

describe('any stream', () => {
  test('gets the bytes in order, and is left open for its owner', async () => {
    const stream = new PassThrough({ highWaterMark: 4 * MIB });
    const sink = new WritableSink('a stream', stream);
    await writeAll(sink);
    sink.writeZeros(image.length, 200_000);
    await sink.commit(500_000);
    expect(stream.writableEnded).toBe(false);
    expect(stream.destroyed).toBe(false);
    // All of it: since Node 26, a read without a length gives one write.
    const got = stream.read(500_000) as Buffer;
    expect(got.subarray(0, image.length).equals(image)).toBe(true);
    expect(got.subarray(image.length).equals(Buffer.alloc(200_000))).toBe(true);
  });

  test('gives a write back when it was taken, not before', async () => {
    const { stream, takeOne } = slowStream();
    const sink = new WritableSink('slow', stream);
    const done = vi.fn<() => void>();
    sink.write(image, 0, done);
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).not.toHaveBeenCalled();
    await takeOne();
    expect(done).toHaveBeenCalledTimes(1);
  });

  test('makes the writer pause above 1 MiB, until half of it is taken', async () => {
    const { stream, takeOne } = slowStream();
    const sink = new WritableSink('slow', stream);
    const piece = Buffer.alloc(256 * KIB);
    for (let index = 0; index < 4; index += 1) {
      sink.write(piece, index * piece.length);
      expect(sink.drained()).toBeUndefined();
    }
    sink.write(piece, MIB);
    const drained = vi.fn<() => void>();
    const pause = sink.drained()?.then(drained);
    expect(pause).toBeDefined();
    await takeOne();
    await takeOne();
    expect(drained).not.toHaveBeenCalled();
    await takeOne();
    await pause;
    expect(drained).toHaveBeenCalledTimes(1);
  });

  test('is flushed when everything was taken', async () => {
    const { stream, takeOne, taken } = slowStream();
    const sink = new WritableSink('slow', stream);
    sink.write(image, 0);
    sink.write(image, image.length);
    const flushed = vi.fn<() => void>();
    const flushing = sink.flush().then(flushed);
    await takeOne();
    expect(flushed).not.toHaveBeenCalled();
    await takeOne();
    await flushing;
    expect(Buffer.concat(taken)).toHaveLength(2 * image.length);
  });

  test('that fails is an error of kind sink, for whoever waits and whoever comes later', async () => {
    const { stream } = slowStream();
    const sink = new WritableSink('the reader', stream);
    sink.write(Buffer.alloc(2 * MIB), 0);
    const waiting = sink.drained();
    stream.destroy(new Error('it broke'));
    const isBroken = failure({
      kind: 'sink',
      context: failure({ path: 'the reader', found: 'it broke' }),
    });
    await expect(waiting).rejects.toEqual(isBroken);
    await expect(sink.flush()).rejects.toEqual(isBroken);
    expect(() => sink.write(image, 2 * MIB)).toThrow(isBroken);
  });

  test('that is closed while bytes wait is an error, too', async () => {
    const { stream } = slowStream();
    const sink = new WritableSink('the reader', stream);
    sink.write(image, 0);
    const flushing = sink.flush();
    stream.destroy();
    await expect(flushing).rejects.toMatchObject({ kind: 'sink' });
  });

  test('that stalls does not hold a build that is stopped', async () => {
    const { stream } = slowStream();
    const stop = new AbortController();
    const sink = new WritableSink('stalled', stream, stop.signal);
    sink.write(Buffer.alloc(2 * MIB), 0);
    const waits = [sink.drained(), sink.flush()];
    const reason = new Error('stop it');
    stop.abort(reason);
    for (const wait of waits) await expect(wait).rejects.toBe(reason);
    await expect(sink.flush()).rejects.toBe(reason);
  });

  test("is the owner's again after the end: no listener stays", async () => {
    const stream = new PassThrough({ highWaterMark: 4 * MIB });
    const before = stream.eventNames().map((name) => [name, stream.listenerCount(name)]);
    const sink = new WritableSink('a stream', stream);
    await writeAll(sink);
    await sink.commit(image.length);
    await sink.discard();
    expect(stream.eventNames().map((name) => [name, stream.listenerCount(name)])).toEqual(before);
  });
});

describe('a stream is written in order', () => {
  test.each([
    ['any stream', () => new WritableSink('a stream', new PassThrough())],
    ['a descriptor', () => new DescriptorSink('a descriptor', openSync('/dev/null', 'w'))],
  ])('%s: a gap, a step back and a wrong total are defects', async (_name, make) => {
    const sink = make();
    sink.write(image.subarray(0, 10), 0);
    expect(() => sink.write(image, 11)).toThrow(/written in order \(at 10, not at 11\)/);
    expect(() => sink.write(image, 9)).toThrow(/written in order/);
    expect(() => sink.writeZeros(0, 5)).toThrow(/written in order/);
    await expect(sink.commit(11)).rejects.toThrow(/got 11 bytes \(it got 10\)/);
  });
});

describe('a descriptor', () => {
  function opened(flags: string, content?: string): { path: string; fd: number } {
    const path = join(temporaryFolder(), 'out');
    if (content !== undefined) writeFileSync(path, content);
    const fd = openSync(path, flags);
    onTestFinished(() => closeSync(fd));
    return { path, fd };
  }

  test('behind > gets the bytes from its start', async () => {
    const { path, fd } = opened('w');
    const sink = openDescriptorSink('standard output', fd);
    expect(sink).toBeInstanceOf(DescriptorSink);
    await writeAll(sink);
    await sink.commit(image.length);
    await sink.discard();
    expect(readFileSync(path).equals(image)).toBe(true);
  });

  test('behind >> gets them behind what is there, and what others append meanwhile', async () => {
    const { path, fd } = opened('a', 'before');
    const sink = openDescriptorSink('standard output', fd);
    sink.write(Buffer.from('one'), 0);
    appendFileSync(path, 'between');
    sink.write(Buffer.from('two'), 3);
    await sink.commit(6);
    expect(readFileSync(path, 'utf8')).toBe('beforeonebetweentwo');
  });

  test('that stands at the end of a file goes on there', async () => {
    const { path, fd } = opened('r+', '');
    writeSync(fd, 'ab');
    const sink = openDescriptorSink('standard output', fd);
    sink.write(Buffer.from('XYZ'), 0);
    await sink.commit(3);
    expect(readFileSync(path, 'utf8')).toBe('abXYZ');
  });

  test('that stands in the middle of a file is refused: what lies behind could complete a broken image', () => {
    const { fd } = opened('r+', '0123456789');
    writeSync(fd, 'ab');
    expect(() => openDescriptorSink('standard output', fd)).toThrow(failure({ kind: 'usage' }));
  });

  test('of a full disk is an error of kind space', async (context) => {
    requireTool(context, 'mount', 'umount');
    requireRoot(context);
    await withSmallDisk(MIB, (folder) => {
      const fd = openSync(join(folder, 'out'), 'w');
      try {
        const sink = openDescriptorSink('standard output', fd);
        expect(() => sink.write(Buffer.alloc(2 * MIB), 0)).toThrow(failure({ kind: 'space' }));
      } finally {
        closeSync(fd);
      }
    });
  });
});

describe('a pipe', () => {
  beforeEach((context) => requireTool(context, 'mkfifo'));

  function openPipe(): { reader: number; sink: Sink } {
    const path = join(temporaryFolder(), 'pipe');
    expect(runJudge('mkfifo', [path]).exitCode).toBe(0);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const sink = openDescriptorSink('standard output', openSync(path, 'w'));
    return { reader, sink };
  }

  test('whose reader went away is an error of kind sink that says so', async () => {
    const { reader, sink } = openPipe();
    expect(sink).toBeInstanceOf(WritableSink);
    closeSync(reader);
    sink.write(image, 0);
    await expect(sink.flush()).rejects.toMatchObject({
      kind: 'sink',
      message: 'the reader of the output went away',
      context: { path: 'standard output', found: expect.stringContaining('EPIPE') as unknown },
    });
  });

  test('whose reader goes away in the middle, too', async () => {
    const { reader, sink } = openPipe();
    sink.write(Buffer.alloc(2 * MIB), 0);
    const waiting = sink.drained();
    expect(waiting).toBeDefined();
    setImmediate(() => closeSync(reader));
    await expect(waiting).rejects.toMatchObject({ kind: 'sink' });
  });
});
