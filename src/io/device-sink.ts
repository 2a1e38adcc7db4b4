import { closeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { PatchVdiError, invariant } from '../errors.js';
import { SUPERBLOCK_OFFSET_BYTES } from '../ext/layout.js';
import { trace } from '../trace.js';
import { MIB, describeBytes } from '../units.js';
import { claimBlockDevice, type ClaimedDevice } from './block-device.js';
import { isZeroed, moreThanAFilesystem } from './device-contents.js';
import {
  WIPED_ENDS_BYTES,
  destroyFilesystem,
  destroyOldContents,
  storeDevice,
  type DestroyCall,
} from './old-contents.js';
import type { Sink } from './sink.js';
import { writeAt } from './write-at.js';

export interface DeviceSinkOptions extends DestroyCall {
  /** Bytes of the image that is to fit. */
  readonly imageBytes: number;
  /** An image is a multiple of this; for a hint. */
  readonly imageStepBytes: number;
  /** Also where a partition table, or a part of something larger, is lost. */
  readonly force: boolean;
  /** The caller says that the device reads as zeros from end to end. */
  readonly targetIsZeroed: boolean;
}

const ZEROS = new Uint8Array(MIB);
/** Bytes after which everybody else gets a turn: the zeros of a large disk take minutes, and Ctrl-C must work. */
const TURN_BYTES = 32 * MIB;

function requireRoom(device: ClaimedDevice, { imageBytes, imageStepBytes }: DeviceSinkOptions): void {
  const { name, sizeBytes } = device;
  if (sizeBytes >= imageBytes) return;
  const largest = Math.floor(sizeBytes / imageStepBytes) * imageStepBytes;
  throw new PatchVdiError('space', 'the device is smaller than the image', {
    context: {
      operation: 'open the device',
      path: name,
      found: `a device of ${describeBytes(sizeBytes)}`,
      expected: `${describeBytes(imageBytes)} for the image`,
    },
    hint: `use a larger device, or --size ${largest} if the upload fits into that`,
    leftBehind: 'nothing was touched',
  });
}

/**
 * An ordinary file system is replaced without further questions: whoever names a device as the output wants that, and
 * a disk that is used again holds the last patch. A partition table, LVM, RAID, LUKS or swap is another matter: it
 * says that the device is not what the user takes it for (the disk instead of the partition), and more than one file
 * system would be lost. mke2fs asks in that case; a program that is run by scripts refuses.
 */
function requireNoMoreThanAFilesystem(device: ClaimedDevice): void {
  const found = moreThanAFilesystem(device);
  if (found === undefined) return;
  throw new PatchVdiError('usage', 'the device holds more than a file system', {
    context: {
      operation: 'look at the device',
      path: device.name,
      found,
      expected: 'an empty device, or one with a file system',
    },
    hint: 'if this is the right device, and all of it may go: --force',
  });
}

/** Only its ends are looked at: to read all of it would take longer than to write the zeros. */
function requireZeroed(device: ClaimedDevice): void {
  for (const offset of [0, Math.max(0, device.sizeBytes - WIPED_ENDS_BYTES)]) {
    if (isZeroed(device, offset, WIPED_ENDS_BYTES)) continue;
    throw new PatchVdiError('usage', 'the device is not zeroed', {
      context: {
        operation: 'look at the device',
        path: device.name,
        offset,
        found: `something other than zeros in the ${describeBytes(WIPED_ENDS_BYTES)} from there`,
        expected: 'zeros from end to end',
      },
      hint: 'leave out --target-is-zeroed',
    });
  }
}

/**
 * A block device. Unlike a new file it holds something old, which is made unmountable before the first write; zeros
 * are written wherever somebody will read them; and as it has no name to be given last, what makes the new contents
 * valid is the superblock alone, which comes last.
 */
export class DeviceSink implements Sink {
  readonly name: string;
  readonly seekable = true;
  readonly #device: ClaimedDevice;
  readonly #call: DestroyCall;
  #state: 'untouched' | 'destroying' | 'destroyed' | 'committed' | 'closed' = 'untouched';
  /** Everything that was not written reads as zeros. */
  #zeroed: boolean;
  /** A superblock is on the device, or about to be. */
  #mountable = false;
  #sinceTurn = 0;

  /**
   * @param path of a block device
   * @throws PatchVdiError `usage` | `space`: nothing was touched then
   */
  constructor(path: string, options: DeviceSinkOptions) {
    this.name = path;
    this.#device = claimBlockDevice(path);
    this.#call = { environment: options.environment, abortSignal: options.abortSignal };
    this.#zeroed = options.targetIsZeroed;
    try {
      requireRoom(this.#device, options);
      if (options.targetIsZeroed) requireZeroed(this.#device);
      else if (!options.force) requireNoMoreThanAFilesystem(this.#device);
    } catch (error) {
      closeSync(this.#device.fd);
      throw error;
    }
    trace('sink', () => `${path} is ours: ${this.#device.number}, ${this.#device.sizeBytes} bytes`);
  }

  async prepare(): Promise<void> {
    invariant(this.#state === 'untouched', 'old contents are destroyed once');
    this.#state = 'destroying';
    if (!this.#zeroed) this.#zeroed = await destroyOldContents(this.#device, this.#call);
    this.#state = 'destroyed';
  }

  leftBehind(): string {
    switch (this.#state) {
      case 'untouched':
        return 'nothing was touched';
      case 'destroying':
        return `the old contents of ${this.name} are destroyed in part; of the new ones there is nothing`;
      default:
        return `the old contents of ${this.name} are destroyed, nothing mountable`;
    }
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    invariant(this.#state === 'destroyed', 'a device is prepared before it is written');
    if (position <= SUPERBLOCK_OFFSET_BYTES && position + bytes.length > SUPERBLOCK_OFFSET_BYTES) {
      this.#mountable = true;
    }
    writeAt(this.#device.fd, this.name, bytes, position);
    this.#sinceTurn += bytes.length;
    done?.();
  }

  writeZeros(position: number, length: number, free = false): void {
    if (free || this.#zeroed) return;
    for (let at = 0; at < length; at += ZEROS.length) {
      this.write(ZEROS.subarray(0, Math.min(ZEROS.length, length - at)), position + at);
    }
  }

  drained(): Promise<void> | undefined {
    if (this.#sinceTurn < TURN_BYTES) return undefined;
    this.#sinceTurn = 0;
    return setImmediate().then(() => this.#call.abortSignal.throwIfAborted());
  }

  async flush(): Promise<void> {
    await storeDevice(this.#device);
    trace('sink', 'fsync');
  }

  async commit(): Promise<void> {
    invariant(this.#state === 'destroyed', 'an output is committed once');
    await this.flush();
    this.#state = 'committed';
    closeSync(this.#device.fd);
    trace('sink', `${this.name} is complete`);
  }

  async discard(): Promise<void> {
    if (this.#state === 'committed' || this.#state === 'closed') return;
    this.#state = 'closed';
    try {
      // The build has failed after all, with the seal written. The signal has had its effect already.
      if (this.#mountable) {
        await destroyFilesystem(this.#device, { ...this.#call, abortSignal: new AbortController().signal });
      }
    } finally {
      closeSync(this.#device.fd);
    }
  }
}
