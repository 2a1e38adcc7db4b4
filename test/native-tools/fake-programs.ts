import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Puts a shell script where a program is looked for; `script` is what follows the shebang line. */
export function makeProgram(folder: string, name: string, script: string, mode = 0o755): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, mode);
  return path;
}

/** A program that answers every question with one line, as e2fsprogs do: on stderr. */
export function makeProgramOfVersion(folder: string, name: string, version: string): string {
  return makeProgram(folder, name, `echo '${name} ${version} (5-Feb-2023)' >&2`);
}
