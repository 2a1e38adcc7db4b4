import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
// It throws where the build is older than the sources: what is packed here must be what they say.
import '../e2e/cli.js';

/** The project's folder. */
export const PROJECT = resolve(import.meta.dirname, '../..');

/** What `npm pack` makes of the project as it is built now. */
export interface PackedPackage {
  readonly folder: string;
  readonly tarball: string;
  /** The tarball, unpacked by tar. */
  readonly unpacked: string;
  /** A folder in which npm has installed the tarball, and nothing else, without a network. */
  readonly installed: string;
  /** What its users start. */
  readonly program: string;
  remove(): void;
}

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, with a small clean environment. */
export function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Ended {
  const { PATH, HOME } = process.env;
  const result = spawnSync(program, args, { cwd, encoding: 'utf8', env: { PATH, HOME, ...env } });
  if (result.error !== undefined) throw result.error;
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** The same of one that must succeed. @returns its standard output */
export function mustRun(program: string, args: readonly string[], cwd: string): string {
  const { code, stdout, stderr } = run(program, args, cwd);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** Packs, unpacks and installs. Call `remove` in the end. */
export function packPackage(): PackedPackage {
  const folder = mkdtempSync(join(tmpdir(), 'patch-vdi-pack-'));
  try {
    const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder];
    const tarball = join(folder, mustRun('npm', pack, PROJECT).trim());
    mustRun('tar', ['-xzf', tarball], folder);
    const installed = join(folder, 'installed');
    mkdirSync(installed);
    const install = ['install', '--offline', '--no-audit', '--no-fund', '--prefix', installed, tarball];
    mustRun('npm', install, folder);
    return {
      folder,
      tarball,
      unpacked: join(folder, 'package'),
      installed,
      program: join(installed, 'node_modules/.bin/patch-vdi'),
      remove: () => rmSync(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
