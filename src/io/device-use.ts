import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/*
 * Who uses a block device, for a message. The kernel has decided already (an exclusive open failed), so whatever
 * cannot be found out here is left out.
 */

/** `MAJOR:MINOR`, as /sys and mountinfo write it. */
export type DeviceNumber = string;

/** glibc's makedev, backwards (sys/sysmacros.h). */
export function deviceNumber(rdev: bigint): DeviceNumber {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

/** The folder of a device or partition in sysfs. */
export function sysfsFolder(number: DeviceNumber): string {
  return `/sys/dev/block/${number}`;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function numberOf(path: string): DeviceNumber | undefined {
  try {
    const stats = statSync(path, { bigint: true });
    return stats.isBlockDevice() ? deviceNumber(stats.rdev) : undefined;
  } catch {
    return undefined;
  }
}

/** Spaces and the like stand as octal numbers in /proc (proc(5)). */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

function mounts(numbers: ReadonlySet<DeviceNumber>): string[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .flatMap((line) => {
      // proc(5): id, parent, major:minor, root, mount point, options, optional fields, "-", type, source, options.
      const [front = '', back = ''] = line.split(' - ');
      const [, , number = '', , mountPoint = ''] = front.split(' ');
      const source = back.split(' ')[1] ?? '';
      // btrfs shows a number of its own, so its source counts, too.
      const ofDevice = numbers.has(number) || numbers.has(numberOf(unescapeOctal(source)) ?? '');
      return ofDevice ? [`mounted at ${unescapeOctal(mountPoint)}`] : [];
    });
}

function swaps(numbers: ReadonlySet<DeviceNumber>): string[] {
  return read('/proc/swaps')
    .split('\n')
    .slice(1)
    .map((line) => unescapeOctal(line.split(/\s/)[0] ?? ''))
    .flatMap((path) => (numbers.has(numberOf(path) ?? '') ? [`in use as swap (${path})`] : []));
}

/** What uses a device or one of its partitions; an empty list when nobody can be named. */
export function usersOf(number: DeviceNumber): string[] {
  const folder = sysfsFolder(number);
  const partitions = list(folder).filter((name) => read(join(folder, name, 'partition')) !== '');
  const folders = [folder, ...partitions.map((name) => join(folder, name))];
  const numbers = new Set(folders.map((each) => read(join(each, 'dev')).trim()));
  const holders = folders.flatMap((each) => list(join(each, 'holders')));
  const users = [...mounts(numbers), ...swaps(numbers), ...holders.map((name) => `in use by ${name}`)];
  return [...new Set(users)];
}
