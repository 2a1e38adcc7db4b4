import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { DEFAULT_SEARCH_PATH, type ToolEnvironment } from '../tools/find.js';

/*
 * The only place that reads environment variables: PATCH_VDI_TOOLS_PATH, PATCH_VDI_PASSWORD, TMPDIR (through
 * os.tmpdir), XDG_STATE_HOME and SOURCE_DATE_EPOCH. (NODE_DEBUG is Node's own.)
 */

/** What is read there, and what for: the manual page has it. */
export const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ['PATCH_VDI_TOOLS_PATH', 'the only folders in which native programs are looked for; PATH never is'],
  ['PATCH_VDI_PASSWORD', 'the password of a user at a pool'],
  ['SOURCE_DATE_EPOCH', 'seconds since 1970: same inputs, same bytes'],
  ['TMPDIR', 'where temporary files go'],
  ['XDG_STATE_HOME', 'where serve keeps its state for a user who is not root'],
  ['NODE_EXTRA_CA_CERTS', 'certificates of more authorities to trust'],
  ['NODE_DEBUG', 'patch-vdi: prints plans, tools and writes'],
];

/** PATH is not searched: as root, a program found by chance in a user's folder must not format anything. */
export function environmentOfProcess(): ToolEnvironment {
  const own = process.env['PATCH_VDI_TOOLS_PATH'];
  const searchPath =
    own === undefined || own === ''
      ? DEFAULT_SEARCH_PATH
      : own
          .split(':')
          .filter((folder) => folder !== '')
          .map((folder) => resolve(folder));
  return { searchPath, temporaryFolder: tmpdir() };
}

/** Seconds since 1970 from the option, else from SOURCE_DATE_EPOCH. @throws PatchVdiError `usage` */
export function sourceDateEpoch(option: string | undefined): number | undefined {
  const text = option ?? process.env['SOURCE_DATE_EPOCH'];
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new PatchVdiError('usage', 'the source date epoch cannot be used', {
    context: { found: JSON.stringify(text), expected: 'whole seconds since 1970' },
  });
}

/** Of a user at a server; undefined: not there, or empty. */
export function passwordOfEnvironment(): string | undefined {
  return process.env['PATCH_VDI_PASSWORD'] || undefined;
}

/**
 * Where a server on this machine keeps its state when nobody says where: root's in /var/lib, anybody else's as the
 * XDG Base Directory Specification has it (which ignores relative paths).
 */
export function defaultStateFolder(): string {
  if (process.geteuid?.() === 0) return '/var/lib/patch-vdi';
  const home = process.env['XDG_STATE_HOME'] ?? '';
  return join(isAbsolute(home) ? home : join(homedir(), '.local/state'), 'patch-vdi');
}
