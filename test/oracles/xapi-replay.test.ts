import { execa } from 'execa';
import { beforeEach, describe, expect, test } from 'vitest';
import { requireTool } from './require-tool.js';
import { temporaryFolder } from './temporary-folder.js';
import { PASSWORD, USER, startReplay, type Replay } from './xapi-replay.js';

beforeEach((context) => requireTool(context, 'curl'));

/*
 * The replay judges our client; curl, which knows neither, shows that it refuses what a real pool refuses, and takes
 * what is right. (In a process of its own: the replay runs in this one.)
 */

async function curl(...args: readonly string[]): Promise<{ status: number; body: string }> {
  const { stdout } = await execa('curl', ['-sS', '--noproxy', '*', '-w', '\n%{http_code}', ...args]);
  const at = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
}

const JSON_TYPE = ['-H', 'Content-Type: application/json'];

async function rpc(pool: Replay, method: string, params: readonly unknown[], version = '2.0') {
  const body = JSON.stringify({ jsonrpc: version, id: 'curl', method, params });
  return await curl(...JSON_TYPE, '-d', body, `${pool.url}/jsonrpc`);
}

async function login(pool: Replay): Promise<string> {
  const { body } = await rpc(pool, 'session.login_with_password', [USER, PASSWORD, '1.0', 'patch-vdi']);
  return (JSON.parse(body) as { result: string }).result;
}

const errorOf = (body: string): unknown => {
  const { error } = JSON.parse(body) as { error?: { message?: string; code?: unknown } };
  return error?.message ?? error?.code;
};

describe('the replay', () => {
  test('lets curl log in, list, upload and download', async () => {
    const pool = await startReplay();
    const session = await login(pool);
    const list = await rpc(pool, 'SR.get_all_records', [session]);
    expect(JSON.parse(list.body)).toMatchObject({ jsonrpc: '2.0', id: 'curl' });
    const task = JSON.parse((await rpc(pool, 'task.create', [session, 'curl', ''])).body) as {
      result: string;
    };
    const file = `${temporaryFolder()}/upload`;
    await execa('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=3'], { stderr: 'ignore' });
    const query = `session_id=${session}&task_id=${task.result}`;
    const put = await curl('-T', file, `${pool.url}/pool_patch_upload?${query}`);
    expect(put).toEqual({ status: 200, body: [...pool.tables.pool_patch.keys()][0] });
    // curl asks first, too.
    expect(pool.requests.at(-1)?.headers.expect).toBe('100-continue');
    const record = JSON.parse((await rpc(pool, 'task.get_record', [session, task.result])).body) as object;
    expect(record).toMatchObject({ result: { status: 'success', progress: 1, result: put.body } });
    const uuid = String(pool.tables.pool_patch.get(put.body)?.['uuid']);
    const back = `${file}.back`;
    await curl('-o', back, `${pool.url}/pool_patch_download?session_id=${session}&uuid=${uuid}`);
    expect((await execa('cmp', [file, back], { reject: false })).exitCode).toBe(0);
  });

  test('refuses calls as XAPI does', async () => {
    const pool = await startReplay();
    const session = await login(pool);
    const refused = async (method: string, params: readonly unknown[]): Promise<unknown> =>
      errorOf((await rpc(pool, method, params)).body);
    expect(await refused('session.login_with_password', [USER, 'wrong', '1.0', 'patch-vdi'])).toBe(
      'SESSION_AUTHENTICATION_FAILED',
    );
    expect(await refused('session.login_with_password', [USER, PASSWORD])).toBe(
      'MESSAGE_PARAMETER_COUNT_MISMATCH',
    );
    expect(await refused('SR.get_all_records', ['OpaqueRef:mine'])).toBe('SESSION_INVALID');
    expect(await refused('SR.get_all_records', [])).toBe('SESSION_INVALID');
    expect(await refused('SR.get_all_records', [session, 'more'])).toBe('MESSAGE_PARAMETER_COUNT_MISMATCH');
    expect(await refused('SR.fly', [session, [...pool.tables.SR.keys()][0]])).toBe('MESSAGE_METHOD_UNKNOWN');
    expect(await refused('VDI.destroy', [session, 'OpaqueRef:none'])).toBe('HANDLE_INVALID');
    expect(await refused('constructor.get_all_records', [session])).toBe('MESSAGE_METHOD_UNKNOWN');
  });

  test('refuses what is no call', async () => {
    const pool = await startReplay();
    expect(await rpc(pool, 'session.logout', [], '1.0')).toMatchObject({ status: 400 });
    expect(await curl(`${pool.url}/jsonrpc`)).toMatchObject({ status: 400 });
    const named = '{"jsonrpc":"2.0","id":1,"method":"session.logout","params":{}}';
    expect(await curl(...JSON_TYPE, '-d', named, `${pool.url}/jsonrpc`)).toMatchObject({ status: 400 });
    expect(await curl('-d', named, `${pool.url}/jsonrpc`)).toMatchObject({ status: 400 });
    expect(await curl(`${pool.url}/elsewhere`)).toMatchObject({ status: 404 });
  });

  test('refuses uploads and downloads, and fails their tasks', async () => {
    const pool = await startReplay();
    const session = await login(pool);
    const task = JSON.parse((await rpc(pool, 'task.create', [session, 'curl', ''])).body) as {
      result: string;
    };
    const put = async (query: string) =>
      await curl('-X', 'PUT', '-d', 'x', `${pool.url}/pool_patch_upload?${query}`);
    const nobody = await put('session_id=OpaqueRef:mine');
    expect({ status: nobody.status, code: errorOf(nobody.body) }).toEqual({
      status: 401,
      code: 'SESSION_INVALID',
    });
    const nowhere = await put(`session_id=${session}&task_id=${task.result}&sr_uuid=none`);
    expect(errorOf(nowhere.body)).toBe('UUID_INVALID');
    expect(pool.tables.task.get(task.result)).toMatchObject({
      status: 'failure',
      error_info: ['UUID_INVALID', 'SR', 'none'],
    });
    const get = await curl(`${pool.url}/pool_patch_download?session_id=${session}&uuid=none`);
    expect(errorOf(get.body)).toBe('CANNOT_FIND_PATCH');
    expect(await curl(`${pool.url}/pool_patch_upload?session_id=${session}`)).toMatchObject({ status: 400 });
    expect(pool.tables.pool_patch.size).toBe(0);
  });

  test('keeps nothing of a body that is cut', async () => {
    const pool = await startReplay();
    const session = await login(pool);
    const url = `${pool.url}/pool_patch_upload?session_id=${session}`;
    const cut = ['-X', 'PUT', '-H', 'Content-Length: 1000', '--max-time', '1', '-d', 'x', url];
    const { exitCode } = await execa('curl', ['-sS', '--noproxy', '*', ...cut], { reject: false });
    expect(exitCode).not.toBe(0);
    expect(pool.requests.at(-1)?.complete).toBe(false);
    expect(pool.tables.pool_patch.size).toBe(0);
  });
});
