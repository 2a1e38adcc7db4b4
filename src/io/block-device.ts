import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { SECTOR_BYTES, checkedBytes } from '../units.js';
import { deviceNumber, sysfsFolder, usersOf, type DeviceNumber } from './device-use.js';

/** A block device that is ours alone for as long as `fd` is open. */
export interface ClaimedDevice {
  /** As the user named it. */
  readonly name: string;
  readonly fd: number;
  readonly number: DeviceNumber;
  readonly sizeBytes: number;
}

/** True for a block device and for a link to one, such as /dev/disk/by-id/...; false when it cannot be looked at. */
export function isBlockDevice(path: string): boolean {
  try {
    return statSync(path).isBlockDevice();
  } catch {
    // Whoever makes a file of that name instead reports what is wrong with it.
    return false;
  }
}

function refuse(path: string, message: string, found: string, hint?: string, cause?: unknown): PatchVdiError {
  return new PatchVdiError('usage', message, {
    context: { operation: 'open the device', path, found },
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

function cannotOpen(path: string, number: DeviceNumber, cause: unknown): PatchVdiError {
  const found = cause instanceof Error ? cause.message : String(cause);
  switch (systemErrorCode(cause)) {
    case 'EBUSY': {
      const users = usersOf(number);
      const who = users.length === 0 ? 'another program has claimed it' : users.join(', ');
      const hint = 'stop using it first (umount, swapoff, lvchange -an, ...), or name another device';
      return refuse(path, 'the device is in use', who, hint, cause);
    }
    case 'EACCES':
    case 'EPERM':
      return refuse(path, 'the device may not be written', found, 'only root may, as a rule', cause);
    default:
      return refuse(path, 'the device cannot be opened for writing', found, undefined, cause);
  }
}

function readSysfs(path: string, number: DeviceNumber, file: string): string {
  try {
    return readFileSync(join(sysfsFolder(number), file), 'utf8').trim();
  } catch (cause) {
    const hint = 'mount /sys: the size of a device is read there';
    throw refuse(path, 'nothing can be found out about the device', String(cause), hint, cause);
  }
}

/**
 * The size of an open block device; Node cannot seek to its end.
 *
 * @param path for messages
 * @throws PatchVdiError `usage` when sysfs cannot be read, or nothing is behind the device
 */
export function deviceSizeBytes(path: string, number: DeviceNumber): number {
  // In sectors of 512 bytes, whatever the device's own are (Linux, Documentation/ABI/stable/sysfs-block).
  const sizeBytes = checkedBytes(Number(readSysfs(path, number, 'size')) * SECTOR_BYTES);
  if (sizeBytes === 0) throw refuse(path, 'there is nothing behind the device', 'a size of 0 bytes');
  return sizeBytes;
}

function openExclusively(path: string): { readonly fd: number; readonly number: DeviceNumber } {
  const before = deviceNumber(statSync(path, { bigint: true }).rdev);
  if (process.platform !== 'linux') {
    throw refuse(path, 'a block device can be the output on Linux only', `this is ${process.platform}`);
  }
  // First of all: a loop device that was given up still says how it was last used, read-only or not.
  deviceSizeBytes(path, before);
  // As root, some read-only devices can be opened for writing, and only the writes fail.
  if (readSysfs(path, before, 'ro') === '1') {
    throw refuse(path, 'the device is read-only', 'the kernel says that it is write-protected');
  }
  let fd: number;
  try {
    // Without O_CREAT, O_EXCL on a block device claims it: EBUSY if it is mounted, swap, part of a larger device, or
    // claimed by somebody else; and none of those can happen while we have it (open(2)).
    fd = openSync(path, constants.O_RDWR | constants.O_EXCL);
  } catch (error) {
    throw cannotOpen(path, before, error);
  }
  const opened = fstatSync(fd, { bigint: true });
  const number = deviceNumber(opened.rdev);
  if (opened.isBlockDevice() && number === before) return { fd, number };
  closeSync(fd);
  throw refuse(path, 'the device was exchanged while it was opened', `first ${before}, then ${number}`);
}

/**
 * Opens a block device for nobody but us. Nothing is written.
 *
 * @param path of a block device
 * @throws PatchVdiError `usage` when it is in use, read-only, without a medium, or may not be written
 */
export function claimBlockDevice(path: string): ClaimedDevice {
  const { fd, number } = openExclusively(path);
  try {
    return { name: path, fd, number, sizeBytes: deviceSizeBytes(path, number) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Whether the device has a command of its own for zeros; a partition asks its disk. */
export function hasWriteZeroes(number: DeviceNumber): boolean {
  const folder = sysfsFolder(number);
  for (const queue of ['queue', '../queue']) {
    try {
      return Number(readFileSync(`${folder}/${queue}/write_zeroes_max_bytes`, 'utf8')) > 0;
    } catch {
      // A partition has no queue of its own; an old kernel has no such file.
    }
  }
  return false;
}
