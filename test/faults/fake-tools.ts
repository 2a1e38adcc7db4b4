import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Workspace } from '../e2e/workspace.js';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';

const PROGRAMS = ['mke2fs', 'debugfs', 'e2fsck', 'gpgv'] as const;
export type ToolName = (typeof PROGRAMS)[number];

/** A shell script in place of a program; `REAL` in it becomes the path of the real one. Or `missing`. */
export type Fakes = Partial<Record<ToolName, string>>;
export const MISSING = 'missing';

/** Where the real program is. */
export function realTool(program: ToolName): string {
  const path = findProgram(program, DEFAULT_SEARCH_PATH);
  if (path === undefined) throw new Error(`${program} is not installed`);
  return path;
}

/** A folder with all programs, some of them replaced; returns what to set in the environment. */
export function fakeTools(work: Workspace, fakes: Fakes): Record<string, string> {
  const folder = join(work.folder, 'tools');
  mkdirSync(folder);
  for (const program of PROGRAMS) {
    const script = fakes[program];
    const path = join(folder, program);
    if (script === MISSING) continue;
    if (script === undefined) symlinkSync(realTool(program), path);
    else {
      writeFileSync(path, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script.replaceAll('REAL', realTool(program))}\n`);
      chmodSync(path, 0o755);
    }
  }
  return { PATCH_VDI_TOOLS_PATH: folder };
}
