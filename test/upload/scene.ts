import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { choosePlace, type FormatChoice } from '../../src/upload/choose-place.js';
import { uploadImage, type UploadImageOptions, type UploadedImage } from '../../src/upload/upload-image.js';
import type { ConnectOptions } from '../../src/xenapi/connect.js';
import { USELESS, usesOf } from '../e2e/judges/importer.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { withDisks, type Disks } from '../oracles/xapi-replay-disks.js';
import { startReplay, type Replay, type ReplayOptions } from '../oracles/xapi-replay.js';
import { poolPlace, samplePatch, type SamplePatch } from '../pool/test-pool.js';
import { connected } from '../xenapi/pools.js';

/** An upload, and a pool that it can go to. */
export interface Scene {
  readonly pool: Replay;
  readonly disks: Disks;
  readonly folder: string;
  readonly patch: SamplePatch;
  /** The upload as a file. */
  readonly file: string;
  readonly keyring: string;
  /** Uploads it as the command line would. */
  readonly upload: (options?: SceneUpload) => Promise<UploadedImage>;
}

export interface SceneUpload {
  readonly sr?: string;
  readonly format?: FormatChoice;
  readonly connect?: Partial<ConnectOptions>;
  readonly build?: Partial<UploadImageOptions['build']>;
  readonly watch?: UploadImageOptions['watch'];
}

export async function scene(sizeBytes: number, options: ReplayOptions = {}): Promise<Scene> {
  const pool = await startReplay(options);
  const disks = withDisks(pool);
  const folder = temporaryFolder();
  const patch = await samplePatch('upload', sizeBytes);
  const file = join(folder, 'hotfix.xsupdate');
  writeFileSync(file, patch.bytes);
  const { keyring } = poolPlace(folder);
  const upload: Scene['upload'] = async ({ sr, format = 'auto', connect = {}, build = {}, watch } = {}) => {
    const connection = await connected(pool, connect);
    const place = await choosePlace(connection, { sr, format });
    return await uploadImage({
      connection,
      place,
      nameLabel: 'Patch hotfix.xsupdate',
      version: '1.2.3',
      watch,
      build: { source: file, verify: { signature: { keyrings: [keyring] } }, ...build },
    });
  };
  return { pool, disks, folder, patch, file, keyring, upload };
}

/** The request of the import. */
export function importOf({ pool }: Scene) {
  const seen = pool.requests.filter(({ path }) => path === '/import_raw_vdi');
  const last = seen.at(-1);
  if (last === undefined) throw new Error('there was no import');
  return last;
}

/** After a failure: no VDI, no task; and what had come of the image is of no use, had the VDI stayed. */
export async function expectUndone({ pool, disks, folder }: Scene): Promise<void> {
  expect([...pool.tables.VDI.keys()]).toEqual([]);
  expect([...pool.tables.task.keys()]).toEqual([]);
  for (const content of disks.contents.values()) {
    if (content.length === 0) continue;
    const path = join(folder, 'broken-off');
    writeFileSync(path, content);
    expect(await usesOf(path, 'vhd')).toMatchObject(USELESS);
  }
}
