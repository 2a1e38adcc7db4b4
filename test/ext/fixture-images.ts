import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { ReadBytes } from '../../src/bytes.js';
import { PatchVdiError } from '../../src/errors.js';
import { openExt, type ExtFilesystem } from '../../src/ext/filesystem.js';
import type { Finding } from '../../src/findings.js';

const FOLDER = join(import.meta.dirname, '../../fixtures/ext');
const SUFFIX = '.img.gz';

/** The names of all fixtures, such as `ext4-bigalloc`. */
export function fixtureNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length));
}

/** Those that hold a readable file system. */
export function readableFixtures(): string[] {
  return fixtureNames().filter((name) => !name.startsWith('refused-'));
}

export function fixtureBytes(name: string): Buffer {
  return gunzipSync(readFileSync(join(FOLDER, name + SUFFIX)));
}

/** Unpacks a fixture into a folder, for the judges. @returns its path */
export function unpackFixture(name: string, folder: string): string {
  const path = join(folder, `${name}.img`);
  writeFileSync(path, fixtureBytes(name));
  return path;
}

/** Reads from memory; past the end it throws as the readers of `io` do. */
export function memoryReader(bytes: Uint8Array): ReadBytes {
  return (offset, length) => {
    const found = bytes.subarray(offset, offset + length);
    if (found.length === length) return Promise.resolve(found);
    return Promise.reject(
      new PatchVdiError('image', 'the image ends too early', {
        context: { offset, found: `${found.length} bytes`, expected: `${length} bytes` },
      }),
    );
  };
}

export interface OpenedImage {
  readonly filesystem: ExtFilesystem;
  readonly findings: readonly Finding[];
}

/** Opens an image in memory, as `inspect` does: findings are collected, nothing is thrown that can be read past. */
export async function openBytes(bytes: Uint8Array): Promise<OpenedImage> {
  const findings: Finding[] = [];
  const report = (finding: Finding) => void findings.push(finding);
  const filesystem = await openExt(memoryReader(bytes), { report, diskBytes: bytes.length });
  return { filesystem, findings };
}
