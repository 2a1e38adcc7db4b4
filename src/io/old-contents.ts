import { fsync, read } from 'node:fs';
import { promisify } from 'node:util';
import { isPatchVdiError } from '../errors.js';
import { SUPERBLOCK_OFFSET_BYTES, superBlock } from '../ext/layout.js';
import {
  GROUP_WINDOW_BYTES,
  backupGeometry,
  backupOffsets,
  defaultGroupStarts,
  superblocksIn,
} from '../ext/superblock-places.js';
import { canZeroDevices, zeroDevice } from '../tools/fallocate.js';
import type { ToolEnvironment } from '../tools/find.js';
import { trace } from '../trace.js';
import { MIB } from '../units.js';
import { hasWriteZeroes, type ClaimedDevice } from './block-device.js';
import { readFailure, writeFailure } from './system-errors.js';
import { writeAt } from './write-at.js';

const readAsync = promisify(read);
const fsyncAsync = promisify(fsync);

export interface DestroyCall {
  readonly environment: ToolEnvironment;
  readonly abortSignal: AbortSignal;
}

/** Reads that are under way at once: enough for a disk to sort them. */
const READS_AT_ONCE = 32;

/**
 * Wiped at both ends whatever is there, as mke2fs does with less: the marks of other file systems, of partition
 * tables (GPT keeps a copy at the end), RAID and LVM. One that survived would make it ambiguous what the new disk
 * is, and at the next boot something might assemble it.
 */
export const WIPED_ENDS_BYTES = MIB;

export async function storeDevice({ fd, name }: ClaimedDevice): Promise<void> {
  try {
    await fsyncAsync(fd);
  } catch (error) {
    throw writeFailure(name, 0, error);
  }
}

async function readAt({ fd, name }: ClaimedDevice, offset: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(length);
  try {
    const { bytesRead } = await readAsync(fd, buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw readFailure(name, offset, error);
  }
}

function destroy({ fd, name }: ClaimedDevice, offset: number): void {
  trace('device', () => `a superblock at ${offset} is destroyed`);
  writeAt(fd, name, new Uint8Array(superBlock.sizeBytes), offset);
}

/** Does something at each place, a batch at a time. */
async function atEach(
  offsets: Iterable<number>,
  { abortSignal }: DestroyCall,
  visit: (offset: number) => Promise<void>,
): Promise<void> {
  let batch: Promise<void>[] = [];
  const endBatch = async (): Promise<void> => {
    await Promise.all(batch);
    batch = [];
    abortSignal.throwIfAborted();
  };
  for (const offset of offsets) {
    batch.push(visit(offset));
    if (batch.length === READS_AT_ONCE) await endBatch();
  }
  await endBatch();
}

/** Destroys the backups of the file system whose superblock these bytes are. */
async function destroyBackups(
  device: ClaimedDevice,
  superblock: Uint8Array,
  call: DestroyCall,
): Promise<void> {
  const geometry = backupGeometry(superblock);
  if (geometry === undefined) return;
  await atEach(backupOffsets(geometry, device.sizeBytes), call, async (offset) => {
    const found = await readAt(device, offset, superBlock.sizeBytes);
    if (superblocksIn(found).length > 0) destroy(device, offset);
  });
}

/**
 * Makes the file system at the start of the device unmountable: its backups first, wherever its own geometry puts
 * them, its superblock last. Killed in the middle, it leaves the old file system whole but for its backups.
 */
export async function destroyFilesystem(device: ClaimedDevice, call: DestroyCall): Promise<void> {
  const superblock = await readAt(device, SUPERBLOCK_OFFSET_BYTES, superBlock.sizeBytes);
  if (superblocksIn(superblock).length > 0) await destroyBackups(device, superblock, call);
  const zeros = new Uint8Array(Math.min(WIPED_ENDS_BYTES, device.sizeBytes));
  writeAt(device.fd, device.name, zeros, device.sizeBytes - zeros.length);
  writeAt(device.fd, device.name, zeros, 0);
  await storeDevice(device);
}

/**
 * Destroys the superblocks of file systems whose primary one is gone. Looks first: a device that stores only what is
 * written would otherwise have to store zeros in every group, and reading nothing costs next to nothing.
 */
async function destroyStrays(device: ClaimedDevice, call: DestroyCall): Promise<void> {
  const strays: Uint8Array[] = [];
  await atEach(defaultGroupStarts(device.sizeBytes), call, async (start) => {
    const window = await readAt(device, start, GROUP_WINDOW_BYTES);
    for (const at of superblocksIn(window)) {
      strays.push(window.subarray(at, at + superBlock.sizeBytes));
      destroy(device, start + at);
    }
  });
  // Each tells where the others of its family are; a family of default size is gone already.
  const families = new Map<string, Uint8Array>();
  for (const stray of strays) {
    const geometry = backupGeometry(stray);
    if (geometry === undefined || geometry.defaultGroups) continue;
    const { blockBytes, blocksPerGroup, firstDataBlock, groupCount } = geometry;
    families.set([blockBytes, blocksPerGroup, firstDataBlock, groupCount].join(), stray);
  }
  for (const stray of families.values()) await destroyBackups(device, stray, call);
  await storeDevice(device);
}

/** The first range that is zeroed to see how fast it goes; each one that went fast is followed by a larger one. */
const FIRST_ZEROED_BYTES = 64 * MIB;
const ZEROED_GROWTH = 8;
/** Below this the start of the program is most of the time, and says nothing about the device. */
const TELLING_MILLISECONDS = 200;
/** What the whole device may take. A disk that really writes the zeros needs hours: then only the superblocks go. */
const QUICK_MILLISECONDS = 10_000;

/**
 * Zeroes the whole device, if the kernel has a command for that and it turns out to be quick.
 *
 * @returns false when some of the device is not zeroed
 */
async function zeroQuickly(device: ClaimedDevice, call: DestroyCall): Promise<boolean> {
  if (!hasWriteZeroes(device.number) || !canZeroDevices(call.environment)) return false;
  const startedAt = performance.now();
  let step = FIRST_ZEROED_BYTES;
  for (let offset = 0; offset < device.sizeBytes; step *= ZEROED_GROWTH) {
    const length = Math.min(step, device.sizeBytes - offset);
    const before = performance.now();
    try {
      await zeroDevice(device.fd, offset, length, call);
    } catch (error) {
      if (!isPatchVdiError(error) || error.kind === 'interrupted') throw error;
      trace('device', () => `not zeroed as a whole: ${error.message} ${error.context.found ?? ''}`);
      return false;
    }
    offset += length;
    const took = performance.now() - before;
    if (took < TELLING_MILLISECONDS) continue;
    const expected = performance.now() - startedAt + (took / length) * (device.sizeBytes - offset);
    if (expected > QUICK_MILLISECONDS) {
      trace('device', () => `not zeroed as a whole: that would take ${Math.round(expected / 1000)} s`);
      return false;
    }
  }
  trace('device', () => `zeroed in ${Math.round(performance.now() - startedAt)} ms`);
  return true;
}

/**
 * Makes the old contents of a device unmountable, by their primary superblock or any other, and stores that. In order:
 * the file system that is there; then everything, where that is quick, or else the strays of older ones.
 *
 * @returns whether the whole device reads as zeros now
 * @throws PatchVdiError `sink` | `space`; the reason of the abort signal
 */
export async function destroyOldContents(device: ClaimedDevice, call: DestroyCall): Promise<boolean> {
  await destroyFilesystem(device, call);
  if (await zeroQuickly(device, call)) {
    await storeDevice(device);
    return true;
  }
  await destroyStrays(device, call);
  return false;
}
