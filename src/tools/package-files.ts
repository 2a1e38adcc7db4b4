import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { invariant } from '../errors.js';

/**
 * The path of a file that ships with this package, such as `native-tools/mke2fs.conf`: searched for upwards from
 * this module, because it runs from src/ in tests and from a bundle in dist/ when installed.
 */
export function packageFile(relativePath: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < 4; level += 1) {
    const candidate = join(folder, relativePath);
    if (existsSync(candidate)) return candidate;
    folder = dirname(folder);
  }
  invariant(false, `the package contains ${relativePath}`);
}
