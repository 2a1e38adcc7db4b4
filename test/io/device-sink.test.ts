import { constants, closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { DeviceSink, type DeviceSinkOptions } from '../../src/io/device-sink.js';
import { deviceNumber } from '../../src/io/device-use.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';
import { clean } from '../oracles/e2fsck.js';
import { attachLoop, requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { createSparse, readAt, sampleImage } from '../oracles/sample-image.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const DISK_BYTES = 32 * MIB;

function optionsWith(changes: Partial<DeviceSinkOptions> = {}): DeviceSinkOptions {
  return {
    imageBytes: 16 * MIB,
    imageStepBytes: 2 * MIB,
    force: false,
    targetIsZeroed: false,
    environment: { searchPath: [], temporaryFolder: '/nowhere' },
    abortSignal: new AbortController().signal,
    ...changes,
  };
}

/** Whether nobody has claimed the device. */
function isFree(device: string): boolean {
  try {
    closeSync(openSync(device, constants.O_RDWR | constants.O_EXCL));
    return true;
  } catch {
    return false;
  }
}

describe('on a loop device', () => {
  beforeEach((context) => {
    requireTool(context, 'mke2fs', 'debugfs', 'e2fsck');
    requireLoopDevices(context);
  });

  interface Bench {
    readonly device: string;
    readonly image: Buffer;
  }

  function setUp(): Bench {
    const folder = temporaryFolder();
    const image = readFileSync(sampleImage(folder, Buffer.alloc(5000, 'x')));
    return { device: attachLoop(createSparse(`${folder}/disk`, DISK_BYTES)), image };
  }

  /** A whole image, superblock last, as a plan would have it. */
  function writeImage(sink: DeviceSink, image: Buffer): void {
    sink.write(image.subarray(4096), 4096);
    sink.write(image.subarray(0, 4096), 0);
  }

  test('what is committed is there, and the device is free again', async () => {
    const { device, image } = setUp();
    const sink = new DeviceSink(device, optionsWith());
    expect(isFree(device)).toBe(false);
    await sink.prepare();
    writeImage(sink, image);
    await sink.commit();
    expect(isFree(device)).toBe(true);
    clean(device);
    await sink.discard();
    clean(device);
  });

  test('what is discarded with the seal on it cannot be opened', async () => {
    const { device, image } = setUp();
    const sink = new DeviceSink(device, optionsWith());
    await sink.prepare();
    writeImage(sink, image);
    const opens = (): boolean => runJudge('e2fsck', ['-fn', device]).stdout.includes('Pass 1');
    expect(opens()).toBe(true);
    await sink.discard();
    expect(isFree(device)).toBe(true);
    expect(opens()).toBe(false);
    await sink.discard();
  });

  test('it tells what is left behind', async () => {
    const { device } = setUp();
    const sink = new DeviceSink(device, optionsWith());
    expect(sink.leftBehind()).toBe('nothing was touched');
    await sink.prepare();
    expect(sink.leftBehind()).toBe(`the old contents of ${device} are destroyed, nothing mountable`);
    await sink.discard();
  });

  test('a device that is refused is not kept', () => {
    const { device } = setUp();
    expect(() => new DeviceSink(device, optionsWith({ imageBytes: DISK_BYTES + 1 }))).toThrow(/smaller/);
    expect(isFree(device)).toBe(true);
  });

  test('an abort while old contents are destroyed', async () => {
    const { device } = setUp();
    const reason = new Error('enough');
    const sink = new DeviceSink(device, optionsWith({ abortSignal: AbortSignal.abort(reason) }));
    await expect(sink.prepare()).rejects.toBe(reason);
    expect(sink.leftBehind()).toContain('in part');
    await sink.discard();
    expect(isFree(device)).toBe(true);
  });

  test('long zeros let everybody else have a turn, and can be stopped', async () => {
    const { device } = setUp();
    const stop = new AbortController();
    const sink = new DeviceSink(device, optionsWith({ abortSignal: stop.signal }));
    await sink.prepare();
    sink.writeZeros(0, 16 * MIB, false);
    expect(sink.drained()).toBeUndefined();
    sink.writeZeros(16 * MIB, 16 * MIB, false);
    const pause = sink.drained();
    expect(pause).toBeDefined();
    stop.abort(new Error('enough'));
    await expect(pause).rejects.toThrow('enough');
    await sink.discard();
  });

  test('free space is left as it is, unless all is zeroed', async () => {
    const folder = temporaryFolder();
    const file = createSparse(`${folder}/disk`, DISK_BYTES);
    const device = attachLoop(file);
    for (const [searchPath, left] of [
      [[], 0x77],
      [DEFAULT_SEARCH_PATH, 0],
    ] as const) {
      const filler = new DeviceSink(device, optionsWith());
      await filler.prepare();
      filler.write(Buffer.alloc(MIB, 0x77), 8 * MIB);
      await filler.commit();
      const environment = { searchPath, temporaryFolder: '/nowhere' };
      const sink = new DeviceSink(device, optionsWith({ environment }));
      await sink.prepare();
      sink.writeZeros(8 * MIB, MIB / 2, true);
      sink.writeZeros(8 * MIB + MIB / 2, MIB / 2, false);
      await sink.commit();
      expect(readAt(device, 8 * MIB, 1)[0]).toBe(left);
      expect(readAt(device, 9 * MIB - 1, 1)[0]).toBe(0);
    }
    expect(statSync(file).size).toBe(DISK_BYTES);
  });
});

/* As Python's os.makedev makes them, which calls that of the C library. */
test.for([
  [1792n, '7:0'],
  [2049n, '8:1'],
  [66304n, '259:0'],
  [268501761n, '259:65537'],
  [1113388n, '253:300'],
  [4294967295n, '4095:1048575'],
] as const)('%d is the device number %s', ([rdev, number]) => {
  expect(deviceNumber(rdev)).toBe(number);
});
