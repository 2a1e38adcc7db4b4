import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isPatchVdiError, type PatchVdiError } from '../../src/errors.js';
import { lockState } from '../../src/pool/state-lock.js';
import { prepareServer, type PreparedServer } from '../../src/server/first-start.js';
import { parseServeConfig } from '../../src/server/serve-config.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { cheapHash } from './scrypt-judge.js';

export const NOW = Date.UTC(2026, 10, 21);
export const DAY = 86_400_000;

/** A folder for one test, with a state folder in it that is not there yet. */
export interface Place {
  readonly folder: string;
  readonly state: string;
  /** A whole start: root's password counts as shown. */
  readonly start: (config?: string, now?: number) => Promise<PreparedServer>;
  /** The error of a start, which gave its lock back. */
  readonly refused: (config?: string, now?: number) => Promise<PatchVdiError>;
  /** A file below the folder. */
  readonly write: (name: string, text: string, mode?: number) => string;
}

export function place(): Place {
  const folder = temporaryFolder();
  const state = join(folder, 'state');
  const start: Place['start'] = async (config, now = NOW) => {
    const parsed =
      config === undefined ? undefined : parseServeConfig(config, { fileName: 'pool.yaml', folder });
    const prepared = await prepareServer({
      stateFolder: state,
      config: parsed,
      hostName: 'host-one',
      now: () => now,
    });
    await prepared.passwordShown();
    return prepared;
  };
  const refused: Place['refused'] = async (config, now) => {
    const error: unknown = await start(config, now).then(
      () => new Error('it was not refused'),
      (thrown: unknown) => thrown,
    );
    if (!isPatchVdiError(error)) throw error;
    // Whatever is refused gives the lock back.
    await (await lockState(state)).release();
    return error;
  };
  const write: Place['write'] = (name, text, mode = 0o600) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  return { folder, state, start, refused, write };
}

export function modeOf(path: string): string {
  return runJudge('stat', ['-c', '%a', path]).stdout.trim();
}

/** Users with cheap hashes, so that a start costs nothing. */
export const USERS = `users: [{name: admin, role: pool-admin, password_hash: "${cheapHash('right')}"}]\n`;
