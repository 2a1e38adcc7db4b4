import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { describe, expect, test, vi } from 'vitest';
import { UploadGuard, type GuardOptions } from '../../src/build/upload-guard.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';

const upload = Buffer.from('the upload, all of it');
const sha256 = createHash('sha256').update(upload).digest('hex');

function start(options: Partial<GuardOptions> = {}): Promise<UploadGuard> {
  return UploadGuard.start({
    verify: { unsigned: true },
    wantDigest: false,
    name: 'the upload',
    announcedLength: undefined,
    capacityBytes: 12 * MIB,
    imageBytes: 16 * MIB,
    scratchBytes: MIB,
    environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: tmpdir() },
    abortSignal: new AbortController().signal,
    ...options,
  });
}

/** Passes bytes through a guard; gives what came out at the other end. */
function pass(guard: UploadGuard, ...parts: readonly Uint8Array[]): Uint8Array[] {
  const passed: Uint8Array[] = [];
  for (const bytes of parts) {
    void guard.take({ bytes, release: () => undefined }, (same, done) => {
      passed.push(same);
      done();
    });
  }
  return passed;
}

test('the very same bytes are passed on, counted, and given back once', async () => {
  const guard = await start();
  const release = vi.fn<() => void>();
  void guard.take({ bytes: upload, release }, (bytes, done) => {
    expect(bytes).toBe(upload);
    done();
  });
  expect(release).toHaveBeenCalledTimes(1);
  expect(guard.received).toBe(upload.length);
});

test('a pause that is asked for behind the guard is asked for in front of it', async () => {
  const guard = await start();
  const pause = Promise.resolve();
  expect(guard.take({ bytes: upload, release: () => undefined }, () => pause)).toBe(pause);
});

describe('an upload of announced length', () => {
  test('may come in any pieces, but must be whole', async () => {
    const guard = await start({ announcedLength: upload.length });
    expect(pass(guard, upload.subarray(0, 5), upload.subarray(5))).toHaveLength(2);
    expect(() => guard.requireComplete()).not.toThrow();
  });

  test('that is one byte short is told as soon as it ends', async () => {
    const guard = await start({ announcedLength: upload.length + 1 });
    pass(guard, upload);
    expect(() => guard.requireComplete()).toThrow(
      expect.objectContaining({
        kind: 'upload',
        message: 'the upload ended too early',
        context: { path: 'the upload', offset: 21, found: '21 bytes', expected: '22 bytes' },
      }) as Error,
    );
  });

  test('that is one byte long is told with that byte, and it is not passed on', async () => {
    const guard = await start({ announcedLength: upload.length });
    pass(guard, upload);
    const passOn = vi.fn<() => void>();
    expect(() => guard.take({ bytes: Buffer.of(0), release: () => undefined }, passOn)).toThrow(
      expect.objectContaining({ kind: 'upload', message: 'the upload is longer than announced' }) as Error,
    );
    expect(passOn).not.toHaveBeenCalled();
  });
});

describe('an upload without a length', () => {
  test('may fill the room there is, and outgrow it by nothing', async () => {
    const guard = await start({ capacityBytes: upload.length });
    pass(guard, upload);
    expect(() => guard.requireComplete()).not.toThrow();
    expect(() => pass(guard, Buffer.of(0))).toThrow(
      expect.objectContaining({ kind: 'space', hint: expect.stringContaining('--size') as unknown }) as Error,
    );
  });

  test('that is empty is an error of kind upload', async () => {
    const guard = await start();
    expect(() => guard.requireComplete()).toThrow(
      expect.objectContaining({ kind: 'upload', message: 'the upload is empty' }) as Error,
    );
  });
});

describe('the SHA-256', () => {
  test('is not computed for nobody', async () => {
    const guard = await start();
    pass(guard, upload);
    expect(await guard.findings()).toEqual({ signatures: [], sha256: undefined });
  });

  test('is told when it is wanted', async () => {
    const guard = await start({ wantDigest: true });
    pass(guard, upload.subarray(0, 1), upload.subarray(1));
    expect(await guard.findings()).toEqual({ signatures: [], sha256 });
  });

  test('that was given must be right, in whatever case', async () => {
    const guard = await start({ verify: { sha256: sha256.toUpperCase() } });
    pass(guard, upload);
    expect(await guard.findings()).toMatchObject({ sha256 });
  });

  test('of another upload is an error of kind signature that names both', async () => {
    const guard = await start({ verify: { sha256: '0'.repeat(64) } });
    pass(guard, upload);
    await expect(guard.findings()).rejects.toMatchObject({
      kind: 'signature',
      message: 'the upload has another SHA-256',
      context: { found: sha256, expected: '0'.repeat(64) },
    });
  });
});
