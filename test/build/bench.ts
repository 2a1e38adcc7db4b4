import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect } from 'vitest';
import { buildPatchImage, type BuildOptions } from '../../src/index.js';
import { MIB } from '../../src/units.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { payloadBytes } from '../plan/materialise.js';

export const upload = payloadBytes(0, 5 * MIB + 3);
export const EPOCH = 1_000_000_000;

export interface Bench {
  readonly folder: string;
  /** Where outputs go; nothing else is there. */
  readonly out: string;
  /** Where temporary files go. */
  readonly temporary: string;
  readonly uploadPath: string;
}

export function setUp(): Bench {
  const folder = temporaryFolder();
  const bench = {
    folder,
    out: join(folder, 'out'),
    temporary: join(folder, 'tmp'),
    uploadPath: join(folder, 'upload'),
  };
  for (const path of [bench.out, bench.temporary]) mkdirSync(path);
  writeFileSync(bench.uploadPath, upload);
  return bench;
}

export function optionsFor(bench: Bench, more: Partial<BuildOptions> = {}): BuildOptions {
  return {
    source: bench.uploadPath,
    sink: join(bench.out, 'image'),
    format: 'vhd',
    verify: { unsigned: true },
    sourceDateEpoch: EPOCH,
    environment: { temporaryFolder: bench.temporary },
    ...more,
  };
}

/** Builds into a file and gives its bytes. */
export async function build(bench: Bench, more: Partial<BuildOptions> = {}): Promise<Buffer> {
  const path = join(bench.out, `image-${readdirSync(bench.out).length}`);
  await buildPatchImage(optionsFor(bench, { sink: path, ...more }));
  return readFileSync(path);
}

export function expectNothingLeft(bench: Bench): void {
  expect(readdirSync(bench.out)).toEqual([]);
  expect(readdirSync(bench.temporary)).toEqual([]);
}

export async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}

export function collector(): { stream: Writable; bytes: () => Buffer } {
  const parts: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      parts.push(Buffer.from(chunk));
      setImmediate(callback);
    },
  });
  return { stream, bytes: () => Buffer.concat(parts) };
}
