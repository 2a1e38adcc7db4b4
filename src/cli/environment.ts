import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { geteuid } from 'node:process';
import { PatchVdiError } from '../errors.js';
import { DEFAULT_SEARCH_PATH, type ToolEnvironment } from '../tools/find.js';

/*
 * The only place that reads environment variables: PATCH_VDI_TOOLS_PATH, TMPDIR (through os.tmpdir),
 * XDG_STATE_HOME and SOURCE_DATE_EPOCH. (NODE_DEBUG is Node's own.)
 */

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

/** Where `serve` keeps what must survive: for root the machine's place, else the user's (XDG Base Directory). */
export function defaultStateFolder(): string {
  if (geteuid?.() === 0) return '/var/lib/patch-vdi';
  const own = process.env['XDG_STATE_HOME'] ?? '';
  return join(own.startsWith('/') ? own : join(homedir(), '.local/state'), 'patch-vdi');
}
