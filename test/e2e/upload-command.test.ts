import { readFileSync, truncateSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { errorPage, withDisks, type Disks } from '../oracles/xapi-replay-disks.js';
import { makeCertificate } from '../oracles/certificates.js';
import { requireTool } from '../oracles/require-tool.js';
import { PASSWORD, ReplayError, startReplay, type Replay } from '../oracles/xapi-replay.js';
import { eventually } from '../io/eventually.js';
import { poolPlace, samplePatch } from '../pool/test-pool.js';
import { expectNothingLeft, runCli, type Ended, type RunOptions } from './cli.js';
import { SECRETS, expectFits } from './pool-client.js';
import { drawnLines, startOnTerminal } from './terminal.js';
import { MIB } from './uploads.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'openssl', 'time', 'gpgv', 'mke2fs', 'debugfs'));

interface Scene {
  readonly work: Workspace;
  readonly pool: Replay;
  readonly disks: Disks;
  readonly file: string;
  readonly keyring: string;
  /** Of the pool. */
  readonly certificate: string;
  /** Runs `patch-vdi upload …`; nothing that it prints has a secret in it. */
  readonly run: (args: readonly string[], options?: RunOptions) => Promise<Ended>;
}

async function scene(): Promise<Scene> {
  const work = workspace();
  const certificate = makeCertificate(work.folder, 'pool');
  const pool = await startReplay({ certificate });
  const disks = withDisks(pool);
  const { keyring } = poolPlace(work.folder);
  const file = work.input('hotfix.xsupdate', (await samplePatch('command', 2 * MIB)).bytes);
  const run: Scene['run'] = async (args, options = {}) => {
    const trust = ['--pool', pool.url, '--ca-file', certificate.file];
    const env = { PATCH_VDI_PASSWORD: PASSWORD, ...options.env };
    const ended = await runCli(work, ['upload', ...args, ...trust], { ...options, env });
    const sessions = pool.calls
      .map(({ params }) => params[0])
      .filter((word): word is string => typeof word === 'string' && word.startsWith('OpaqueRef:'));
    for (const secret of [...SECRETS, ...sessions]) {
      expect(ended.stdout).not.toContain(secret);
      expect(ended.stderr).not.toContain(secret);
    }
    expectNothingLeft(work);
    return ended;
  };
  return { work, pool, disks, file, keyring, certificate: certificate.file, run };
}

describe('patch-vdi upload', () => {
  test('prints what it has done, in 80 columns', async () => {
    const { file, keyring, run, pool } = await scene();
    const { exitCode, stdout, stderr } = await run([file, '--keyring', keyring]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain(`uploaded to ${pool.url}`);
    expect(stdout).toContain('Local storage (file, the default)');
    expect(stdout).toContain('Patch hotfix.xsupdate');
    expectFits(stdout);
    expect(pool.sessions.size).toBe(0);
  });

  test('as JSON', async () => {
    const { file, keyring, run, pool } = await scene();
    const { stdout, stderr } = await run([file, '--keyring', keyring, '--name', 'One', '--json']);
    expect(stderr).toBe('');
    const [[, vdi] = ['', undefined]] = pool.tables.VDI;
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      server: pool.url,
      vdi: { uuid: vdi?.['uuid'], nameLabel: 'One', virtualSizeBytes: 16 * MIB },
      sr: { nameLabel: 'Local storage', chosen: 'default' },
      format: 'vhd',
      verifiedBy: 'signature',
      warnings: [],
    });
  });

  test('from standard input, with a length: no file is made', async () => {
    const { file, keyring, run, pool } = await scene();
    const stdin = { path: file, through: 'pipe' } as const;
    const args = ['-', '--content-length', String(2 * MIB), '--keyring', keyring, '--json'];
    const { exitCode, stdout } = await run(args, { stdin });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ spooled: false });
    expect([...pool.tables.VDI.values()][0]).toMatchObject({ name_label: 'Patch' });
  });

  test('a task that never ends: as long as --idle-timeout says, then all is undone', async () => {
    const { file, keyring, run, pool, disks } = await scene();
    disks.finish = () => undefined;
    const { exitCode, stderr } = await run([file, '--keyring', keyring, '--idle-timeout', '3']);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('no progress for 3 seconds');
    expect(stderr).toContain('--idle-timeout');
    expect(stderr).toContain('the VDI was destroyed');
    expect([pool.tables.VDI.size, pool.tables.task.size]).toEqual([0, 0]);
  });

  test('on a terminal: verified, sent, and then waiting for the pool; Ctrl-C there destroys the VDI', async (context) => {
    requireTool(context, 'script', 'stty', 'bash');
    const { file, keyring, work, pool, disks, certificate } = await scene();
    disks.finish = ({ task }) => void (task['progress'] = 0.5);
    const command = `PATCH_VDI_PASSWORD='${PASSWORD}' patch-vdi upload ${file} --format raw --keyring ${keyring}`;
    const { ended, output, type } = startOnTerminal(
      work,
      `${command} --pool ${pool.url} --ca-file ${certificate}`,
    );
    await eventually(() => {
      expect(output()).toMatch(/waiting for the pool \[#+-+\] 50%/);
    });
    expect(pool.tables.VDI.size).toBe(1);
    type('\u0003');
    const { exitCode } = await ended;
    expect(exitCode, output()).toBe(130);
    const lines = drawnLines(output());
    expect(output()).toContain('the VDI was destroyed');
    expectFits(lines.join('\n'));
    expect([pool.tables.VDI.size, pool.tables.task.size, pool.sessions.size]).toEqual([0, 0, 0]);
  });

  test('without keyring: refused before anybody is asked', async () => {
    const { file, run, pool } = await scene();
    const { exitCode, stderr } = await run([file]);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('nothing says how to verify the upload');
    expect(pool.requests).toEqual([]);
  });

  test('an upload that is not there: exit 2 or 4, and nothing is made', async () => {
    const { work, keyring, run, pool } = await scene();
    const { exitCode } = await run([work.output('none'), '--keyring', keyring]);
    expect([2, 4]).toContain(exitCode);
    expect(pool.callsOf('VDI.create')).toEqual([]);
  });

  test.for([
    ['SR_FULL', 5],
    ['SR_BACKEND_FAILURE_44', 5],
    ['RBAC_PERMISSION_DENIED', 8],
  ] as const)(
    'a pool that refuses VDI.create with %s: exit %i, nothing was changed',
    async ([code, exit]) => {
      const { file, keyring, run, pool } = await scene();
      pool.answers.set('VDI.create', () => {
        throw new ReplayError(code, 'x');
      });
      const { exitCode, stderr } = await run([file, '--keyring', keyring]);
      expect(exitCode).toBe(exit);
      expect(stderr).toContain(code);
      expect(stderr).toContain('nothing was changed on the server');
      expect(pool.callsOf('VDI.destroy')).toEqual([]);
    },
  );

  test('a host that answers with a page full of secrets: they are not repeated, with NODE_DEBUG neither', async () => {
    const { file, keyring, run, disks, pool } = await scene();
    disks.instead = (request) => `${errorPage('403 Forbidden')}${PASSWORD} ${request.url}`;
    const env = { NODE_DEBUG: 'patch-vdi' };
    const { exitCode, stderr } = await run([file, '--keyring', keyring], { env });
    expect(exitCode).toBe(8);
    expect(stderr).toContain('403');
    // It really told more.
    expect(stderr).toMatch(/connected to https/);
    expect(stderr).toContain('the VDI was destroyed');
    expect(pool.tables.VDI.size).toBe(0);
  });

  test('a session that ends meanwhile is opened again, and closed', async () => {
    const { file, keyring, run, pool, disks } = await scene();
    disks.finish = ({ task, socket, vdi }) => {
      pool.sessions.clear();
      Object.assign(task, { status: 'success', progress: 1, result: vdi });
      socket.end();
    };
    expect(await run([file, '--keyring', keyring])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(pool.callsOf('session.login_with_password')).toHaveLength(2);
    expect(pool.sessions.size).toBe(0);
  });

  test('an SR without known free space: a warning', async () => {
    const { file, keyring, run, pool } = await scene();
    for (const sr of pool.tables.SR.values()) sr['physical_size'] = -1;
    const { exitCode, stderr } = await run([file, '--keyring', keyring]);
    expect(exitCode).toBe(0);
    expect(stderr).toContain('does not say how much space is free');
  });

  test.for(['vhd', 'raw'])('memory does not grow with the upload: %s', async (format) => {
    const { work, run, pool, disks } = await scene();
    // Nothing of it is kept here.
    disks.discard = true;
    const peaks: number[] = [];
    for (const bytes of [32 * MIB, 256 * MIB]) {
      const path = work.input(`upload-${bytes}`, '');
      truncateSync(path, bytes);
      const report = `${work.folder}/peak`;
      const wrapper = ['time', '-f', '%M', '-o', report];
      const { exitCode, stderr } = await run([path, '--allow-unsigned', '--format', format], { wrapper });
      expect(exitCode, stderr).toBe(0);
      peaks.push(Number(readFileSync(report, 'utf8')) * 1024);
    }
    expect(pool.requests.filter(({ path }) => path === '/import_raw_vdi')).toHaveLength(2);
    expect((peaks[1] ?? Infinity) - (peaks[0] ?? 0)).toBeLessThan(24 * MIB);
    expect(Math.max(...peaks)).toBeLessThan(160 * MIB);
  });
});
