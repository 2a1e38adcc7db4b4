import { symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const REPOSITORY = resolve(import.meta.dirname, '../..');

/**
 * A child process of a test as one JavaScript file, with the files of the package beside it.
 *
 * @param source below the repository, such as `test/pool/killed-child.ts`
 * @returns its path in `folder`
 */
export async function bundleChild(source: string, folder: string): Promise<string> {
  symlinkSync(join(REPOSITORY, 'native-tools'), join(folder, 'native-tools'));
  const bundle = await rolldown({
    input: join(REPOSITORY, source),
    platform: 'node',
    logLevel: 'silent',
  });
  const path = join(folder, 'child.mjs');
  await bundle.write({ file: path, format: 'esm', codeSplitting: false });
  return path;
}
