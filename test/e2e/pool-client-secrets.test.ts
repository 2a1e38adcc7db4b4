import { chmodSync, copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { makeCertificate } from '../oracles/certificates.js';
import { requireTool } from '../oracles/require-tool.js';
import { PASSWORD, ReplayError } from '../oracles/xapi-replay.js';
import { expectNothingLeft, runCli, startCli } from './cli.js';
import { SECRETS, addPatch, poolScene } from './pool-client.js';
import { startOnTerminal } from './terminal.js';
import { workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'openssl', 'script', 'stty', 'bash'));

const NO_ENVIRONMENT = { env: { PATCH_VDI_PASSWORD: '' } };

describe('the password', () => {
  test('comes from a file, from standard input, or from the environment', async () => {
    const { work, pool, run } = await poolScene();
    const file = work.input('pw', `${PASSWORD}\n`);
    chmodSync(file, 0o600);
    const stdin = { path: file, through: 'pipe' } as const;
    const ways = [
      await run(['patches', '--password-file', file], NO_ENVIRONMENT),
      await run(['patches', '--password-file', '-'], { ...NO_ENVIRONMENT, stdin }),
      await run(['patches']),
    ];
    for (const { exitCode, stderr } of ways)
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(pool.callsOf('session.login_with_password').map(({ params }) => params[1])).toEqual([
      PASSWORD,
      PASSWORD,
      PASSWORD,
    ]);
  });

  test('in a file that others can read is used, with a warning', async () => {
    const { work, run, json } = await poolScene();
    const file = work.input('pw', PASSWORD);
    chmodSync(file, 0o644);
    const { exitCode, stderr } = await run(['patches', '--password-file', file], NO_ENVIRONMENT);
    expect(exitCode).toBe(0);
    expect(stderr).toContain('chmod 600');
    const { warnings } = await json(['patches', '--password-file', file], NO_ENVIRONMENT);
    expect(warnings).toHaveLength(1);
  });

  test.for([
    ['empty', ''],
    ['two lines', 'one\ntwo\n'],
    ['too long', 'x'.repeat(5000)],
    ['no UTF-8', Buffer.from([0xff, 0xfe, 0x41])],
    ['a NUL', 'a\0b'],
  ] as const)('cannot be in a file that is %s', async ([, content]) => {
    const { work, pool, run } = await poolScene();
    const { exitCode, stderr } = await run(['patches', '--password-file', work.input('pw', content)]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('the password file cannot be used');
    expect(pool.requests).toEqual([]);
  });

  test('is not taken from the command line, and the error says why, without it', async () => {
    const { pool, run } = await poolScene();
    for (const args of [['--password', 'hunter22'], ['--password=hunter22']]) {
      const { exitCode, stdout, stderr } = await run(['patches', ...args]);
      expect(exitCode).toBe(2);
      expect(stderr).toContain('everybody on this machine can read the arguments');
      expect(stdout + stderr).not.toContain('hunter22');
    }
    expect(pool.requests).toEqual([]);
  });

  test('must come from somewhere', async () => {
    const { pool, run, work } = await poolScene();
    const { exitCode, stderr } = await run(['patches'], NO_ENVIRONMENT);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('PATCH_VDI_PASSWORD');
    const twice = await run(['upload', '-', '--password-file', '-'], {
      stdin: { path: work.input('x', 'x'), through: 'pipe' },
    });
    expect(twice.exitCode).toBe(2);
    expect(twice.stderr).toContain('standard input cannot be both');
    expect(pool.requests).toEqual([]);
  });

  test('is asked for on a terminal, which does not show it', async () => {
    const { work, pool, certificate } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    const command = `patch-vdi pool patches --url ${pool.url} --ca-file ${certificate.file}`;
    const { ended, output, type } = startOnTerminal(work, command);
    await expect.poll(output).toContain(`Password of root at ${pool.url}: `);
    // With a slip that is taken back.
    type(`x\u007f${PASSWORD}\r`);
    const { exitCode, output: all } = await ended;
    expect(exitCode, all).toBe(0);
    expect(all).toContain('XS62ESP1');
    for (const secret of SECRETS) expect(all).not.toContain(secret);
    expect(pool.callsOf('session.login_with_password')[0]?.params[1]).toBe(PASSWORD);
  });

  test('Ctrl-C where it is asked for gives the terminal back', async () => {
    const { work, pool } = await poolScene();
    const command = `patch-vdi pool patches --url ${pool.url}; code=$?; stty -a | grep -o ' echo '; exit $code`;
    const { ended, output, type } = startOnTerminal(work, command);
    await expect.poll(output).toContain('Password of root');
    type('\u0003');
    const { exitCode, output: all } = await ended;
    expect(exitCode, all).toBe(130);
    expect(all).toContain(' echo ');
    expect(pool.requests).toEqual([]);
  });
});

describe('credentials', () => {
  test('are in no argument of any process, and in no error of any call that fails', async () => {
    const { work, pool, run } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    const commandLines: string[] = [];
    const look = (): void => {
      for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
        try {
          commandLines.push(readFileSync(`/proc/${name}/cmdline`, 'utf8'));
        } catch {
          // It has ended meanwhile.
        }
      }
    };
    const commands = [
      ['patches'],
      ['srs'],
      ['vdis'],
      ['tasks'],
      ['upload', work.input('hotfix', 'x'.repeat(1000))],
      ['download', 'XS62ESP1', '-o', work.output('x')],
      ['destroy', 'XS62ESP1'],
    ];
    const everything: string[] = [];
    // A server that repeats all it is told, in every way that it has.
    pool.intercept = (request, response) => {
      look();
      const echo = [request.url, JSON.stringify(request.headers)];
      request.on('data', (part: Buffer) =>
        echo.push(part.toString('utf8'), decodeURIComponent(request.url ?? '')),
      );
      const answer = (): void => {
        const text = echo.join('\n');
        everything.push(text);
        if (text.includes('login_with_password')) {
          const session = 'OpaqueRef:secret-session';
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: session }));
        } else response.writeHead(500, { 'content-type': 'text/plain' }).end(text);
      };
      request.on('end', answer).resume();
      return true;
    };
    for (const command of commands) {
      for (const json of [[], ['--json']]) {
        const env = { NODE_DEBUG: 'patch-vdi' };
        const { exitCode, stdout, stderr } = await run([...command, ...json], { env });
        expect(exitCode).toBe(8);
        expect(stdout + stderr).not.toContain('secret-session');
      }
    }
    // What was told, was told: so it could have come back.
    expect(everything.join('\n')).toContain('secret-session');
    expect(everything.join('\n')).toContain('battery');
    expect(commandLines.join('\n')).toContain('pool\0patches');
    for (const secret of [...SECRETS, 'secret-session'])
      expect(commandLines.join('\n')).not.toContain(secret);
  });

  test('that are wrong are told so', async () => {
    const { pool, run } = await poolScene();
    const { exitCode, stderr } = await run(['patches'], { env: { PATCH_VDI_PASSWORD: 'no good' } });
    expect(exitCode).toBe(8);
    expect(stderr).toContain('the server does not let root in: name or password is wrong');
    expect(stderr).not.toContain('no good');
    expect(pool.sessions.size).toBe(0);
  });
});

describe('the certificate of a server on this machine', () => {
  test('is trusted when it lies in the state folder, whatever names it has', async () => {
    const { work, pool } = await poolScene();
    const env = { PATCH_VDI_PASSWORD: PASSWORD };
    const state = join(work.folder, 'state');
    mkdirSync(state);
    copyFileSync(join(work.folder, 'pool.pem'), join(state, 'certificate.pem'));
    const args = ['pool', 'patches', '--url', pool.url];
    const refused = await runCli(work, args, { env: { ...env, XDG_STATE_HOME: '/nonexistent' } });
    expect(refused.exitCode).toBe(8);
    expect(refused.stderr).toContain('the server could not be trusted');
    expect(await runCli(work, [...args, '--state', state], { env })).toMatchObject({
      exitCode: 0,
      stderr: '',
    });
    const other = makeCertificate(work.folder, 'other');
    copyFileSync(other.file, join(state, 'certificate.pem'));
    const wrong = await runCli(work, [...args, '--state', state], { env });
    expect(wrong.exitCode).toBe(8);
    expect(wrong.stderr).toContain('its certificate is another one');
  });

  test('is not there: that is said', async () => {
    const { work, pool } = await poolScene();
    const { exitCode, stderr } = await runCli(
      work,
      ['pool', 'patches', '--url', pool.url, '--state', work.out],
      { env: { PATCH_VDI_PASSWORD: PASSWORD } },
    );
    expect(exitCode).toBe(2);
    expect(stderr).toContain('the certificate file cannot be used');
  });

  test('is one of several whose fingerprints are given; with none of them nothing is sent', async () => {
    const { work, pool, certificate } = await poolScene();
    const env = { PATCH_VDI_PASSWORD: PASSWORD };
    const others = ['--fingerprint', 'ab'.repeat(32), '--fingerprint', 'cd'.repeat(32)];
    const refused = await runCli(work, ['pool', 'srs', '--pool', pool.url, ...others], { env });
    expect(refused.exitCode).toBe(8);
    expect(refused.stderr.replaceAll(/\s+/g, '')).toContain(certificate.fingerprint);
    expect(refused.stderr.replaceAll(/\s+/g, '')).toContain(pool.url);
    expect(pool.requests).toEqual([]);
    const all = [...others, '--fingerprint', certificate.fingerprint];
    const { exitCode, stderr } = await runCli(work, ['pool', 'srs', '--pool', pool.url, ...all], { env });
    expect(exitCode, stderr).toBe(0);
  });

  test('is not asked for twice', async () => {
    const { exitCode, stderr } = await runCli(workspace(), [
      'pool',
      'patches',
      '--state',
      '/x',
      '--fingerprint',
      'y',
    ]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('it is not clear which certificate to trust');
  });
});

describe('Ctrl-C', () => {
  test('while an upload is under way cancels its task, waits for its end, and logs out', async () => {
    const { work, pool, certificate } = await poolScene();
    pool.intercept = (request, response) => {
      if (request.method !== 'PUT') return false;
      response.writeContinue();
      request.once('data', () => child.kill('SIGINT')).resume();
      return true;
    };
    const path = work.input('hotfix', Buffer.alloc(64 * 1024 * 1024));
    const { child, ended } = startCli(
      work,
      ['pool', 'upload', path, '--url', pool.url, '--ca-file', certificate.file],
      { env: { PATCH_VDI_PASSWORD: PASSWORD } },
    );
    const { exitCode, stderr } = await ended;
    expect({ exitCode, stopped: stderr.includes('stopped by SIGINT') }).toEqual({
      exitCode: 130,
      stopped: true,
    });
    const methods = pool.calls.map(({ method }) => method);
    expect(methods.slice(-4)).toEqual(['task.cancel', 'task.get_record', 'task.destroy', 'session.logout']);
    expect(pool.sessions.size).toBe(0);
    expectNothingLeft(work);
  });

  test('while a VDI is copied cancels that', async () => {
    const { work, pool, certificate } = await poolScene();
    addPatch(pool, 'XS62ESP1', 'c');
    pool.holdTasks = true;
    pool.answers.set('task.cancel', ([, task]) => {
      const record = pool.tables.task.get(String(task));
      Object.assign(record ?? {}, { status: 'cancelled', error_info: ['TASK_CANCELLED', String(task)] });
      return '';
    });
    const args = ['vdi-copy', 'cccccccc', '--sr', 'Shared storage', '--url', pool.url];
    const { child, ended } = startCli(work, ['pool', ...args, '--ca-file', certificate.file], {
      env: { PATCH_VDI_PASSWORD: PASSWORD },
    });
    await expect.poll(() => pool.callsOf('task.get_record').length).toBeGreaterThan(1);
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exitCode: 143 });
    expect(pool.callsOf('task.cancel')).toHaveLength(1);
    expect(pool.tables.task.size).toBe(0);
    expect(pool.tables.VDI.size).toBe(1);
    expect(pool.sessions.size).toBe(0);
  });

  test('somebody else’s cancel is an error of the server', async () => {
    const { work, pool, run } = await poolScene();
    pool.judge = () => {
      throw new ReplayError('TASK_CANCELLED', 'OpaqueRef:t');
    };
    const { exitCode, stderr } = await run(['upload', work.input('hotfix', 'x')]);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('somebody has cancelled the task');
  });
});
