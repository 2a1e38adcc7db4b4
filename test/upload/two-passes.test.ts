/*
 * Issue 8: "Raw cannot withhold its seal: spool and verify first; a regular file may be verified in a first pass and
 * hashed again in the second."
 */
import {
  appendFileSync,
  closeSync,
  openSync,
  renameSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Progress } from '../../src/index.js';
import { MIB, roundUp } from '../../src/units.js';
import { expectPatchDisk, requireImageJudges } from '../e2e/judges/patch-disk.js';
import { makeZip } from '../io/zips.js';
import { requireTool } from '../oracles/require-tool.js';
import { inChunks, samplePatch } from '../pool/test-pool.js';
import { TIMEOUTS, thrownBy } from '../xenapi/pools.js';
import { expectUndone, importOf, scene, type Scene, type SceneUpload } from './scene.js';

beforeEach((context) => {
  requireTool(context, 'openssl', 'gpgv');
  requireImageJudges(context);
});

const SIZE = 5 * MIB + 3;
const DISK = roundUp(4 * SIZE, 2 * MIB);

const sentAnything = ({ pool }: Scene): boolean =>
  pool.requests.some(({ path }) => path === '/import_raw_vdi');

/** A raw upload for which no temporary file can be made. */
const raw = (build: SceneUpload['build'] = {}): SceneUpload => ({
  format: 'raw',
  build: { spoolFolder: '/proc/nowhere', ...build },
});

async function expectUploaded(at: Scene, vdi: string, upload = at.file): Promise<void> {
  const image = join(at.folder, 'image.raw');
  writeFileSync(image, at.disks.contents.get(vdi) ?? '');
  await expectPatchDisk(image, 'raw', upload, DISK);
}

/** Does something when the first pass has seen all, and the second has not begun. */
function betweenThePasses(act: () => void): Pick<NonNullable<SceneUpload['build']>, 'onProgress'> {
  let done = false;
  const onProgress = ({ phase, bytes, totalBytes }: Progress): void => {
    if (done || phase !== 'verify' || bytes !== totalBytes) return;
    done = true;
    act();
  };
  return { onProgress };
}

/** Changes one byte of a file in its place. */
function flip(path: string, offset: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, 'X', offset);
  closeSync(fd);
}

describe('a raw image of a regular file', () => {
  test('goes up without a temporary file, in a pass that verifies and one that sends', async () => {
    const at = await scene(SIZE);
    const seen: Progress[] = [];
    const { vdi, build } = await at.upload(raw({ onProgress: (progress) => void seen.push(progress) }));
    expect(build).toMatchObject({ format: 'raw', spooled: false, sha256: at.patch.sha256 });
    expect(build.signatures).toHaveLength(1);
    const phases = seen.map(({ phase }) => phase);
    expect([...new Set(phases)]).toEqual(['verify', 'write']);
    expect(seen.at(phases.lastIndexOf('verify'))).toMatchObject({ bytes: SIZE });
    expect(seen.at(-1)).toMatchObject({ bytes: SIZE });
    await expectUploaded(at, vdi.ref);
  });

  test('also with --idle-timeout', async () => {
    const at = await scene(SIZE);
    const { vdi } = await at.upload(raw({ idleTimeoutSeconds: 60 }));
    await expectUploaded(at, vdi.ref);
  });

  test('also of a member of a ZIP file', async (context) => {
    requireTool(context, 'zip');
    const at = await scene(SIZE);
    const archive = join(at.folder, 'hotfix.zip');
    writeFileSync(archive, makeZip({ 'hotfix.xsupdate': at.patch.bytes }));
    const { vdi, build } = await at.upload(raw({ source: archive }));
    expect(build.spooled).toBe(false);
    await expectUploaded(at, vdi.ref);
  });

  test('sabotage: an upload that comes only once needs the temporary file', async () => {
    const at = await scene(SIZE);
    const once = { source: inChunks(at.patch.bytes), contentLength: SIZE };
    expect(await thrownBy(at.upload(raw(once)))).toMatchObject({ kind: 'usage' });
    await expectUndone(at);
    const { build } = await at.upload({
      format: 'raw',
      build: { ...once, source: inChunks(at.patch.bytes) },
    });
    expect(build.spooled).toBe(true);
  });

  test.for([
    ['somebody else’s', (at: Scene) => flip(at.file, SIZE >> 1)],
    ['cut', (at: Scene) => truncateSync(at.file, SIZE - 1)],
  ] as const)('with a signature that is %s: not a byte goes out', async ([, spoil]) => {
    const at = await scene(SIZE);
    spoil(at);
    expect(await thrownBy(at.upload(raw()))).toMatchObject({ kind: 'signature' });
    expect(sentAnything(at)).toBe(false);
    await expectUndone(at);
  });

  test('with another SHA-256 than the one that was asked for: not a byte goes out', async () => {
    const at = await scene(SIZE);
    const verify = { sha256: '0'.repeat(64) };
    expect(await thrownBy(at.upload(raw({ verify })))).toMatchObject({ kind: 'signature' });
    expect(sentAnything(at)).toBe(false);
    await expectUndone(at);
  });
});

describe('a file that changes between the passes', () => {
  test.for([
    ['by its first byte', ({ file }: Scene) => flip(file, 0)],
    ['by its last byte', ({ file }: Scene) => flip(file, SIZE - 1)],
    ['in its length: shorter', ({ file }: Scene) => truncateSync(file, SIZE - 1)],
    ['in its length: empty', ({ file }: Scene) => truncateSync(file, 0)],
  ] as const)('%s: the import never gets its end, and the VDI goes', async ([, change]) => {
    const at = await scene(SIZE);
    const error = await thrownBy(at.upload(raw(betweenThePasses(() => change(at)))));
    expect(error).toMatchObject({
      kind: 'upload',
      message: 'the upload was changed while it was read',
      leftBehind: 'nothing: the VDI was destroyed',
    });
    const { received, headers, complete } = importOf(at);
    expect(headers['content-length']).toBe(String(DISK));
    expect(complete).toBe(false);
    // After the payload there are more than ten megabytes of zeros, none of which went out.
    expect(received).toBeLessThan(DISK / 2);
    expect(at.pool.tables.VDI.size).toBe(0);
    expect(at.pool.tables.task.size).toBe(0);
  });

  test('in its length: longer: seen in the pass that it comes to', async () => {
    const at = await scene(SIZE);
    const longer = betweenThePasses(() => appendFileSync(at.file, 'X'));
    expect(await thrownBy(at.upload(raw(longer)))).toMatchObject({ kind: 'upload' });
    await expectUndone(at);
  });

  test('under its name only: what is open is what was verified, and that is what goes up', async () => {
    const at = await scene(SIZE);
    const other = await samplePatch('other', SIZE);
    const original = join(at.folder, 'original');
    const replace = (): void => {
      renameSync(at.file, original);
      writeFileSync(at.file, other.bytes);
    };
    const { vdi, labels } = await at.upload(raw(betweenThePasses(replace)));
    expect(labels.sha256).toBe(at.patch.sha256);
    await expectUploaded(at, vdi.ref, original);
  });

  test('and whose VDI cannot be destroyed: the error says that it may mount', async () => {
    const at = await scene(SIZE);
    at.disks.busyMilliseconds = 60_000;
    const connect = { timeouts: { ...TIMEOUTS, farewell: 200 } };
    const changing = raw(betweenThePasses(() => flip(at.file, SIZE - 1)));
    const error = await thrownBy(at.upload({ ...changing, connect }));
    expect(error).toMatchObject({
      leftBehind: expect.stringContaining('its image is not complete, but may mount') as string,
    });
  });
});
