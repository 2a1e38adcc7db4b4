import { expect } from 'vitest';
import { makeCertificate, type Certificate } from '../oracles/certificates.js';
import {
  PASSWORD,
  patchFields,
  startReplay,
  vdiFields,
  type Replay,
  type ReplayOptions,
} from '../oracles/xapi-replay.js';
import { runCli, type Ended, type RunOptions } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

/** A pool, and what a user of it has. */
export interface PoolScene {
  readonly work: Workspace;
  readonly pool: Replay;
  readonly certificate: Certificate;
  /** Runs `patch-vdi pool …` with the password in the environment, and trusts the pool's certificate. */
  readonly run: (args: readonly string[], options?: RunOptions) => Promise<Ended>;
  /** The same, and what it printed as JSON. */
  readonly json: (args: readonly string[], options?: RunOptions) => Promise<Record<string, unknown>>;
}

export const SECRETS = [PASSWORD, encodeURIComponent(PASSWORD), JSON.stringify(PASSWORD).slice(1, -1)];

export async function poolScene(options: Omit<ReplayOptions, 'certificate'> = {}): Promise<PoolScene> {
  const work = workspace();
  const certificate = makeCertificate(work.folder, 'pool');
  const pool = await startReplay({ certificate, ...options });
  const sessions = new Set<string>();
  const run: PoolScene['run'] = async (args, runOptions = {}) => {
    const trust = ['--url', pool.url, '--ca-file', certificate.file];
    const ended = await runCli(work, ['pool', ...args, ...trust], {
      ...runOptions,
      env: { PATCH_VDI_PASSWORD: PASSWORD, ...runOptions.env },
    });
    for (const { params } of pool.calls) {
      if (typeof params[0] === 'string' && params[0].startsWith('OpaqueRef:')) sessions.add(params[0]);
    }
    // Whatever was run, and however it ended.
    for (const secret of [...SECRETS, ...sessions]) {
      expect(ended.stdout).not.toContain(secret);
      expect(ended.stderr).not.toContain(secret);
    }
    return ended;
  };
  const json: PoolScene['json'] = async (args, runOptions) => {
    const { stdout, stderr } = await run([...args, '--json'], runOptions);
    expect(stderr).toBe('');
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  return { work, pool, certificate, run, json };
}

/** Uuids that a person can tell apart. */
export const uuid = (digit: string): string => `${digit.repeat(8)}-1111-4111-8111-111111111111`;

/** A patch in a VDI, with known uuids. */
export function addPatch(
  pool: Replay,
  name: string,
  digit: string,
  changes: Readonly<Record<string, unknown>> = {},
): { patch: string; vdi: string } {
  const [sr = ''] = pool.tables.SR.keys();
  const [patch, vdi] = [`OpaqueRef:patch-${digit}`, `OpaqueRef:vdi-${digit}`];
  const size = 734_003_200;
  pool.tables.VDI.set(vdi, {
    ...vdiFields(`Patch ${uuid(digit)} (${name})`, sr, size * 4),
    uuid: uuid(digit).replaceAll('1111-', '2222-'),
  });
  pool.tables.pool_patch.set(patch, {
    ...patchFields(name, '1.0', size, vdi),
    uuid: uuid(digit),
    ...changes,
  });
  return { patch, vdi };
}

/** Nothing is wider than a terminal. */
export function expectFits(text: string, columns = 80): void {
  expect(text.split('\n').filter((line) => line.length > columns)).toEqual([]);
}
