import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { PatchVdiError } from '../errors.js';
import { DEFAULT_SEARCH_PATH, type ToolEnvironment } from '../tools/find.js';

/*
 * The only place that reads environment variables: PATCH_VDI_TOOLS_PATH, PATCH_VDI_PASSWORD, TMPDIR (through
 * os.tmpdir), XDG_STATE_HOME, SOURCE_DATE_EPOCH, NO_COLOR, FORCE_COLOR and TERM. (NODE_DEBUG is Node's own.)
 */

/** What is read there, and what for: the manual page has it. */
export const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ['PATCH_VDI_TOOLS_PATH', 'the only folders in which native programs are looked for; PATH never is'],
  ['PATCH_VDI_PASSWORD', 'the password of a user at a pool'],
  ['SOURCE_DATE_EPOCH', 'seconds since 1970: same inputs, same bytes'],
  ['TMPDIR', 'where temporary files go'],
  ['XDG_STATE_HOME', 'where serve keeps its state for a user who is not root'],
  ['NO_COLOR', 'anything: no colours, and no control sequences for the progress bar'],
  ['FORCE_COLOR', 'anything but 0 or false: colours also where no terminal is, unless NO_COLOR is set'],
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

/** https://no-color.org: set, and not empty, whatever to. */
function noColor(): boolean {
  return (process.env['NO_COLOR'] ?? '') !== '';
}

/**
 * Whether colours are wanted: NO_COLOR decides against them, then FORCE_COLOR for them (https://force-color.org; 0 and
 * false are taken for what they say), then whether it is a terminal that can.
 */
export function wantsColours(isTerminal: boolean): boolean {
  if (noColor()) return false;
  const force = process.env['FORCE_COLOR'] ?? '';
  if (force !== '') return force !== '0' && force !== 'false';
  return isTerminal && process.env['TERM'] !== 'dumb';
}

/** Whether a terminal may be sent control sequences: for drawing, without colours. */
export function wantsEscapes(): boolean {
  return !noColor() && process.env['TERM'] !== 'dumb';
}
