import { openImageMaker } from '../../src/build/open-maker.js';
import { imageIdentity, type ImageIdentity } from '../../src/build/identity.js';
import type { ImageMaker, Template } from '../../src/build/template.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import type { FilesystemName } from '../../src/tools/mke2fs.js';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from '../oracles/temporary-folder.js';

export const OLD_FILESYSTEMS = ['ext2', 'ext3'] as const;
export const EPOCH = 1_700_000_000;
export const IDENTITY: ImageIdentity = imageIdentity({ sourceDateEpoch: EPOCH, label: 'old' }, ['test']);

export interface OpenMaker {
  readonly maker: ImageMaker;
  /** Where its files go. */
  readonly folder: string;
}

/** A maker that is disposed of when the test ends. */
export async function openMaker(filesystem: FilesystemName, virtualSize: number): Promise<OpenMaker> {
  const folder = temporaryFolder();
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: folder };
  const call = { environment, epochSeconds: EPOCH, abortSignal: undefined };
  const maker = await openImageMaker(filesystem, virtualSize, call);
  onTestFinished(() => maker.dispose());
  return { maker, folder };
}

export interface MadeTemplate extends OpenMaker {
  readonly template: Template;
  /** The template as a file, with none of the payload. */
  readonly image: string;
}

/** A template; e2fsck has already been asked about it by the product itself. */
export async function makeTemplate(
  filesystem: FilesystemName,
  virtualSize: number,
  payloadLength: number,
): Promise<MadeTemplate> {
  const open = await openMaker(filesystem, virtualSize);
  const template = await open.maker.make(payloadLength, IDENTITY);
  await template.checked;
  const [name = ''] = readdirSync(open.folder);
  return { ...open, template, image: join(open.folder, name, 'template') };
}
