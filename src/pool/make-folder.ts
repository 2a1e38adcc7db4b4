import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { FileSink } from '../io/file-sink.js';
import { writeFailure } from '../io/system-errors.js';
import { MARK_FILE, markOf } from './folder-places.js';

async function writeMark(folder: string, uuid: string): Promise<void> {
  const mark = new FileSink(join(folder, MARK_FILE), true);
  const text = Buffer.from(`{ "uuid": "${uuid}" }\n`);
  try {
    mark.write(text, 0);
    await mark.commit(text.length);
  } finally {
    await mark.discard();
  }
}

/**
 * Makes the folder of a repository (0700) and its mark, or takes over one that has its mark.
 *
 * @throws PatchVdiError `usage` when it belongs to another repository, `space` | `sink`
 */
export async function makeRepositoryFolder(folder: string, uuid: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const found = await markOf(folder);
    if (found === undefined) await writeMark(folder, uuid);
    else if (found !== uuid) {
      throw new PatchVdiError('usage', 'the folder belongs to another storage repository', {
        context: { path: folder, found: `SR ${found}`, expected: `SR ${uuid}` },
        hint: 'give each storage repository a folder of its own',
      });
    }
  } catch (error) {
    throw error instanceof PatchVdiError ? error : writeFailure(folder, 0, error);
  }
}
