import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { packageFile } from './package-files.js';

/** Where programs are looked for when the caller names no search path; sbin, because e2fsprogs lives there. */
export const DEFAULT_SEARCH_PATH: readonly string[] = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/opt/homebrew/opt/e2fsprogs/sbin',
  '/opt/homebrew/bin',
  '/usr/local/opt/e2fsprogs/sbin',
];

/** How external programs are found and where they may put private files. */
export interface ToolEnvironment {
  /** Folders, in order of preference. */
  readonly searchPath: readonly string[];
  /** Parent of all temporary folders: templates, private gpgv homes, spools. */
  readonly temporaryFolder: string;
}

export type PackageManager = 'apt' | 'dnf' | 'apk' | 'brew';

/** One row of native-tools/tools.tsv. */
export interface KnownTool {
  readonly program: string;
  /** The oldest version that may be used, `major.minor`; undefined means any. */
  readonly minimumVersion: string | undefined;
  /** `apply`: only to run patches on this machine, as root. */
  readonly neededFor: 'build' | 'apply' | 'test';
  readonly packages: Readonly<Record<PackageManager, string>>;
  readonly purpose: string;
}

/** Reads native-tools/tools.tsv, which install.sh reads too: one list for both. */
export function knownTools(): KnownTool[] {
  const rows = readFileSync(packageFile('native-tools/tools.tsv'), 'utf8').split('\n');
  return rows
    .filter((row) => row !== '' && !row.startsWith('#'))
    .map((row) => {
      const [program = '', minimum, needed, apt = '', dnf = '', apk = '', brew = '', purpose = ''] =
        row.split('\t');
      return {
        program,
        minimumVersion: minimum === '-' ? undefined : minimum,
        neededFor: needed === 'build' || needed === 'apply' ? needed : 'test',
        packages: { apt, dnf, apk, brew },
        purpose,
      };
    });
}

/** The first executable regular file of that name on the search path, or undefined. */
export function findProgram(program: string, searchPath: readonly string[]): string | undefined {
  for (const folder of searchPath) {
    const candidate = join(folder, program);
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // Not here: the next folder may have it. That none has it is reported by requireProgram.
    }
  }
  return undefined;
}

/** Like {@link findProgram}, but a missing program is an error of kind `tool` that says how to get it. */
export function requireProgram(program: string, environment: ToolEnvironment): string {
  const path = findProgram(program, environment.searchPath);
  if (path !== undefined) return path;
  const known = knownTools().find((tool) => tool.program === program);
  throw new PatchVdiError('tool', `${program} was not found`, {
    context: {
      operation: `find ${program}`,
      found: `no executable ${program} in ${environment.searchPath.join(':')}`,
      expected: known?.minimumVersion === undefined ? program : `${program} ${known.minimumVersion} or later`,
    },
    hint:
      known === undefined
        ? `install ${program}`
        : `install it (Debian and Ubuntu: apt-get install ${known.packages.apt}); patch-vdi doctor lists all programs`,
    leftBehind: 'nothing was touched',
  });
}

/** Compares dotted versions number by number: negative when `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
