import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as v from 'valibot';
import { PatchVdiError, systemErrorCode } from '../errors.js';
import { readFailure } from '../io/system-errors.js';
import { isUuid, markOf } from '../pool/folder-places.js';
import { FolderRepository, type FolderRepositoryOptions } from '../pool/folder-repository.js';
import { printable } from '../signature/printable.js';
import { readCarefully, writeWhole } from './private-file.js';
import type { RepositoryConfig } from './serve-config.js';

/*
 * STATE/repositories.json: which SR lies in which folder, once it was made.
 *
 *   { "format": "patch-vdi repositories 1", "repositories": [{ "path": "/srv/sr", "uuid": "…" }] }
 *
 * The mark in the folder says the same; but when the file system of a folder is not mounted the mark is missing, and
 * without this file a new SR would be made below it.
 */

export const REPOSITORIES_FILE = 'repositories.json';
const FORMAT = 'patch-vdi repositories 1';

const fileSchema = v.strictObject({
  format: v.literal(FORMAT),
  repositories: v.array(v.strictObject({ path: v.string(), uuid: v.pipe(v.string(), v.check(isUuid)) })),
});

type Remembered = Map<string, string>;

async function readRemembered(path: string): Promise<Remembered> {
  const text = await readCarefully(path, 'secret');
  if (text === undefined) return new Map();
  try {
    const { repositories } = v.parse(fileSchema, JSON.parse(text));
    return new Map(repositories.map((row) => [row.path, row.uuid]));
  } catch (cause) {
    throw new PatchVdiError('image', 'the file of repositories is damaged', {
      context: {
        operation: 'read which SR lies where',
        path,
        found: 'another text',
        expected: `"${FORMAT}"`,
      },
      hint: 'remove it while all file systems of SRs are mounted: the marks in their folders say the same',
      cause,
    });
  }
}

async function writeRemembered(path: string, remembered: Remembered): Promise<void> {
  const repositories = Array.from(remembered, ([folder, uuid]) => ({ path: folder, uuid }));
  await writeWhole(path, `${JSON.stringify({ format: FORMAT, repositories }, undefined, 2)}\n`, 0o600);
}

/** What lies in a folder, or why that cannot be told. */
type FoundMark = { readonly uuid: string | undefined } | { readonly cause: unknown };

async function markIn(folder: string): Promise<FoundMark> {
  try {
    return { uuid: await markOf(folder) };
  } catch (cause) {
    return { cause };
  }
}

function otherUuid(path: string, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('usage', 'the folder belongs to another storage repository', {
    context: { path, found: `SR ${found}`, expected: `SR ${expected}` },
    hint: 'correct or leave out its uuid, or give this storage repository a folder of its own',
  });
}

export interface PreparedRepositories {
  /** In the order of the configuration, each with its UUID. */
  readonly repositories: readonly (RepositoryConfig & { readonly uuid: string })[];
  readonly warnings: readonly string[];
}

/**
 * Makes the folders of SRs that are new, and finds out the UUIDs of those that are not. Whoever calls holds the lock
 * of the state.
 *
 * @throws PatchVdiError `usage` when a folder belongs to another SR, `image` when the state is damaged,
 *   `space` | `sink`
 */
export async function prepareRepositories(
  stateFolder: string,
  configured: readonly RepositoryConfig[],
  now: () => number,
): Promise<PreparedRepositories> {
  const path = join(stateFolder, REPOSITORIES_FILE);
  const remembered = await readRemembered(path);
  const warnings: string[] = [];
  const repositories: (RepositoryConfig & { uuid: string })[] = [];
  for (const config of configured) {
    const known = remembered.get(config.path);
    const found = await markIn(config.path);
    // One that was never there cannot be made; one that was must not keep the others from being served.
    if ('cause' in found && known === undefined) throw readFailure(config.path, 0, found.cause);
    const mark = 'cause' in found ? undefined : found.uuid;
    const uuid = config.uuid ?? known ?? mark ?? randomUUID();
    const repository = { ...config, uuid };
    if (mark !== undefined && mark !== uuid) {
      if (config.uuid !== undefined) throw otherUuid(config.path, mark, uuid);
      warnings.push(outOfReach(repository, `it has the mark of SR ${mark}`));
    } else if (mark === undefined && known !== undefined) {
      if (known !== uuid) throw otherUuid(config.path, known, uuid);
      const reason =
        'cause' in found ? `its mark cannot be read (${codeOf(found.cause)})` : 'its mark is missing';
      warnings.push(outOfReach(repository, reason));
    } else {
      // The mark first: killed before it is remembered, the next start finds it.
      await FolderRepository.create(folderOptions(repository, now));
      if (known !== uuid) {
        remembered.set(config.path, uuid);
        await writeRemembered(path, remembered);
      }
    }
    const twin = repositories.find((other) => other.uuid === uuid);
    if (twin !== undefined)
      throw otherUuid(config.path, `${uuid}, as ${printable(twin.path, 200)} does`, 'of its own');
    repositories.push(repository);
  }
  return { repositories, warnings };
}

/** `EIO` */
function codeOf(cause: unknown): string {
  return systemErrorCode(cause) ?? printable(String(cause), 64);
}

function outOfReach({ nameLabel, path }: RepositoryConfig, reason: string): string {
  return (
    `the SR "${printable(nameLabel, 64)}" is out of reach: ${reason} in ${printable(path, 200)}. Mount its file ` +
    `system and start again; if the SR is gone for good, take its line out of ${REPOSITORIES_FILE} in the state folder`
  );
}

/** For `FolderRepository.open`. */
export function folderOptions(
  { path, uuid, nameLabel, capabilities, shared, quotaBytes }: RepositoryConfig & { readonly uuid: string },
  now: () => number,
): FolderRepositoryOptions {
  return { path, uuid, nameLabel, capabilities: new Set(capabilities), shared, quotaBytes, now };
}
