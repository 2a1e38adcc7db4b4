import { shortBytes } from '../inspect/draw-text.js';
import type { StorageRepository } from '../pool/storage.js';
import type { PreparedServer } from '../server/first-start.js';
import { columnsOf, fieldLines, visibleLines } from './text.js';
import { packageVersion } from './version.js';

/** For people; programs read the log. */
export function say(lines: readonly string[]): void {
  process.stderr.write(`${lines.join('\n')}\n`);
}

/** Root's new password, once. */
export async function showPassword(prepared: PreparedServer): Promise<void> {
  const { firstPassword } = prepared;
  if (firstPassword !== undefined) {
    // Shown once: not to somebody whose server then does not start.
    const { requireFreePlace } = await import('../server/server.js');
    await requireFreePlace(prepared.config.listen);
    const note = 'This is the first start. The password of root, shown only this once:';
    say([note, '', `    ${firstPassword}`, '']);
  }
  await prepared.passwordShown();
}

/** Clients that know the old fingerprint will complain. */
function certificateText(tls: PreparedServer['tls']): string | undefined {
  if (tls === undefined) return undefined;
  return tls.renewed === undefined ? tls.fingerprint : `${tls.fingerprint}\nnew: ${tls.renewed}`;
}

/** What only whoever starts the server knows. */
interface WelcomeFacts {
  /** UUID. */
  readonly defaultSr: string | undefined;
  /** Of a slave. */
  readonly master?: string | undefined;
  readonly realPool?: string | undefined;
}

/** A pool does not always know. */
function freeText(bytes: number): string {
  return bytes === Number.MAX_SAFE_INTEGER ? 'free space unknown' : `${shortBytes(bytes)} free`;
}

/** What is served where. */
export async function welcome(
  prepared: PreparedServer,
  repositories: readonly StorageRepository[],
  url: string,
  { defaultSr, master, realPool }: WelcomeFacts,
): Promise<void> {
  const columns = columnsOf(process.stderr);
  const { tls, stateFolder } = prepared;
  const srs: string[] = [];
  for (const repository of repositories) {
    const { facts } = repository;
    const free = await repository.freeBytes().then(freeText, () => 'out of reach');
    const mark = facts.uuid === defaultSr ? ' (default)' : '';
    srs.push(`${facts.nameLabel}${mark}, ${free}`);
  }
  say([
    `patch-vdi ${packageVersion()} serves ${url}`,
    ...fieldLines(
      [
        ['slave of', master],
        ['state', stateFolder],
        ['real pool', realPool],
        ['storage', srs.join('\n')],
        ['keyrings', prepared.policy.keyrings.join('\n')],
        ['certificate', certificateText(tls)],
      ],
      columns - 2,
    ).map((line) => `  ${line}`),
  ]);
  for (const warning of prepared.warnings) say([visibleLines(`warning: ${warning}`, columns)]);
}
