import { open } from 'node:fs/promises';

/** Stores the names in a folder: without it a rename may be lost when the machine stops. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
