import { constants } from 'node:fs';
import { lstat, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { chunksOf } from '../inspect/file-chunks.js';
import type { FileChunk } from '../inspect/image-file.js';
import { passThroughVerifier } from '../inspect/verify-file.js';
import { isPatchVdiError, PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import type { Database } from './database.js';
import type { PatchInfo } from './info-document.js';
import { patchFileSize } from './patch-file.js';
import { CLEAR_TEXT_FILE, askPatch } from './patch-info.js';
import { patchVdiSize } from './patch-rules.js';
import type { ReceiveTools } from './receive-patch.js';

export interface AdoptOptions {
  readonly database: Database;
  /** This host's patches of the time before VDIs. */
  readonly patchFolder: string;
  readonly receive: ReceiveTools;
}

/** What was found in the patch folder that no record knew. */
export interface AdoptedFiles {
  /** UUIDs. */
  readonly adopted: readonly string[];
  /** `name: why`; they are left alone. */
  readonly refused: readonly string[];
}

/** More are left for the next start: each is read as a whole and run. */
const MAX_FILES = 1000;

interface FoundPatch {
  readonly info: PatchInfo;
  readonly size: number;
  readonly sha256: string;
}

async function* chunksOfPath(path: string): AsyncGenerator<FileChunk> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    yield* chunksOf(file);
  } finally {
    await file.close();
  }
}

/** Verified, and asked what it is, as an upload is. @throws PatchVdiError, PoolError */
async function inspectFile(path: string, tools: ReceiveTools): Promise<FoundPatch> {
  const { policy, environment, parseInfo, infoLimits } = tools;
  const size = await patchFileSize(path);
  if (size === undefined || size === 0) throw new Error(size === 0 ? 'it is empty' : 'it is no regular file');
  const folder = await mkdtemp(join(environment.temporaryFolder, 'adopted-'));
  try {
    const { sha256 = '' } = await passThroughVerifier(chunksOfPath(path), policy, {
      name: path,
      environment,
      // What would fit beside it in a VDI.
      clearTextLimitBytes: patchVdiSize(size) - size,
      clearTextPath: join(folder, CLEAR_TEXT_FILE),
      wantDigest: true,
    });
    const info = await askPatch(folder, parseInfo, environment, undefined, infoLimits);
    return { info, size, sha256 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function adopt(path: string, { database, receive }: AdoptOptions): Promise<string> {
  const { info, size, sha256 } = await inspectFile(path, receive);
  const known = database.findByUuid('pool_patch', info.uuid);
  const otherFile = known === undefined ? '' : database.get('pool_patch', known).filename;
  const hasFile = (await patchFileSize(otherFile)) !== undefined;
  return await database.change((draft) => {
    const values = {
      uuid: info.uuid,
      name_label: info.nameLabel,
      name_description: info.nameDescription,
      version: info.version,
      after_apply_guidance: info.afterApplyGuidance,
      filename: path,
      size,
      sha256,
    };
    if (known === undefined) draft.create('pool_patch', values);
    else if (hasFile || draft.find('VDI', draft.get('pool_patch', known).VDI) !== undefined) {
      throw new PatchVdiError('usage', `the pool has patch ${info.uuid} already`);
    } else draft.update('pool_patch', known, values);
    return info.uuid;
  });
}

function reason(error: unknown): string {
  const found = isPatchVdiError(error) && error.context.found !== undefined ? `: ${error.context.found}` : '';
  return printable(`${error instanceof Error ? error.message : String(error)}${found}`, 300);
}

/**
 * When the master starts: files that somebody has put into the patch folder get records, if they are patches that the
 * pool would have taken as uploads. What is none costs nothing but its mention.
 */
export async function adoptPatchFiles(options: AdoptOptions): Promise<AdoptedFiles> {
  const { database, patchFolder } = options;
  const records = database.all('pool_patch').flatMap(([, one]) => [one.filename, one.replaced_filename]);
  const known = new Set(records);
  const paths = (await readdir(patchFolder))
    .filter((name) => !name.startsWith('.'))
    .toSorted()
    .map((name) => join(patchFolder, name))
    .filter((path) => !known.has(path));
  const adopted: string[] = [];
  const refused: string[] = [];
  for (const path of paths.slice(0, MAX_FILES)) {
    const name = printable(path.slice(patchFolder.length + 1), 100);
    try {
      if (!(await lstat(path)).isFile()) refused.push(`${name}: it is no regular file`);
      else adopted.push(await adopt(path, options));
    } catch (error) {
      refused.push(`${name}: ${reason(error)}`);
    }
  }
  return { adopted, refused };
}
