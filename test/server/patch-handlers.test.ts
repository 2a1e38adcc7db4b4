/*
 * `PUT /pool_patch_upload` and `GET /pool_patch_download`, with curl and Node's client.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesOf, oldPatch, samplePatch, sha256, srRef, SR_UUIDS } from '../pool/test-pool.js';
import { GIB, MIB } from '../../src/units.js';
import { PASSWORD, ask, errorIn, testServer } from './test-server.js';
import { runTool } from './run-tool.js';

describe('an upload', () => {
  test('with curl -T, as the issue writes it, and out again', async () => {
    const server = await testServer();
    const patch = await samplePatch('curl', 5 * MIB + 17);
    const file = join(server.place.folder, 'hotfix.xsupdate');
    writeFileSync(file, patch.bytes);
    const put = await runTool('curl', [
      '-sS',
      '-T',
      file,
      '-u',
      `root:${PASSWORD}`,
      `${server.url}/pool_patch_upload`,
    ]);
    expect(put).toMatchObject({ exitCode: 0, stderr: '' });
    const { database } = server.pool;
    const record = database.get('pool_patch', put.stdout.trim());
    expect(record).toMatchObject({ uuid: patch.uuid, size: patch.bytes.length, sha256: patch.sha256 });
    const vdi = database.get('VDI', record.VDI);
    expect(vdi).toMatchObject({ SR: srRef(server.pool, 'one'), state: 'ready' });
    expect(vdi.name_label).toBe(`Patch ${patch.uuid} (${record.name_label})`);
    // 4 x, in steps of 2 MiB.
    expect(vdi.virtual_size).toBe(Math.ceil((4 * patch.bytes.length) / (2 * MIB)) * 2 * MIB);
    const out = join(server.place.folder, 'out');
    const url = `${server.url}/pool_patch_download?uuid=${patch.uuid}`;
    expect(await runTool('curl', ['-sS', '-f', '-o', out, '-u', `reader:${PASSWORD}`, url])).toMatchObject({
      exitCode: 0,
    });
    expect(sha256(readFileSync(out))).toBe(patch.sha256);
  });

  test('without a length gets 4 GiB', async () => {
    const server = await testServer();
    const patch = await samplePatch('chunked');
    const file = join(server.place.folder, 'hotfix');
    writeFileSync(file, patch.bytes);
    const put = await runTool('sh', [
      '-c',
      `cat "$1" | curl -sS -f -T - -u "$2" "$3"`,
      'sh',
      file,
      `root:${PASSWORD}`,
      `${server.url}/pool_patch_upload`,
    ]);
    expect(put).toMatchObject({ exitCode: 0, stderr: '' });
    const record = server.pool.database.get('pool_patch', put.stdout.trim());
    expect(server.pool.database.get('VDI', record.VDI).virtual_size).toBe(4 * GIB);
  });

  test('with a session, a task and an SR', async () => {
    const server = await testServer();
    const patch = await samplePatch('session');
    const { ref: session } = server.sessions.open({ name: 'op', role: 'pool-operator' }, 'test');
    const task = await server.pool.tasks.create('upload');
    const query = `session_id=${session}&task_id=${task}&sr_uuid=${SR_UUIDS.two}`;
    const answer = await ask(server, `/pool_patch_upload?${query}`, {
      method: 'PUT',
      user: '',
      body: patch.bytes,
    });
    expect(answer.status).toBe(200);
    const ref = answer.body.toString().trim();
    expect(server.pool.database.get('task', task)).toMatchObject({
      status: 'success',
      result: `<value>${ref}</value>`,
      progress: 1,
    });
    const { VDI } = server.pool.database.get('pool_patch', ref);
    expect(server.pool.database.get('VDI', VDI).SR).toBe(srRef(server.pool, 'two'));
  });

  test('is asked for (100 Continue) only when the SR has room', async () => {
    const server = await testServer({ quotaBytes: 64 * MIB });
    const patch = await samplePatch('expect', 2 * MIB);
    const accepted = await ask(server, '/pool_patch_upload', {
      method: 'PUT',
      body: patch.bytes,
      expect: true,
    });
    expect(accepted).toMatchObject({ status: 200, continued: true });
    const large = { 'Content-Length': String(32 * MIB) };
    const refused = await ask(server, '/pool_patch_upload', { method: 'PUT', expect: true, headers: large });
    expect(refused).toMatchObject({ status: 507, continued: false });
    expect(errorIn(refused)).toEqual(['OUT_OF_SPACE', SR_UUIDS.one]);
    expect(server.log.at(-1)).toMatchObject({ status: 507, bytesIn: 0 });
  });

  test.for([
    ['without credentials', { user: '' }, 401, 'SESSION_AUTHENTICATION_FAILED'],
    ['with a wrong name', { user: 'nobody' }, 401, 'SESSION_AUTHENTICATION_FAILED'],
    ['by somebody who may only read', { user: 'reader' }, 403, 'RBAC_PERMISSION_DENIED'],
    ['by somebody who may only make disks', { user: 'admin' }, 403, 'RBAC_PERMISSION_DENIED'],
  ] as const)('%s is not asked for', async ([, who, status, code]) => {
    const server = await testServer();
    const { bytes } = await samplePatch('refused');
    const answer = await ask(server, '/pool_patch_upload', {
      method: 'PUT',
      body: bytes,
      expect: true,
      ...who,
    });
    expect(answer).toMatchObject({ status, continued: false });
    expect(errorIn(answer)[0]).toBe(code);
    expect(answer.headers['www-authenticate'] === undefined).toBe(status !== 401);
    expect(filesOf(server.place)).toEqual([]);
  });

  test.for([
    ['an SR that is not there', `sr_uuid=${'9'.repeat(8)}-9999-4999-8999-999999999999`, 404, 'UUID_INVALID'],
    ['an SR reference that leads nowhere', 'sr_id=OpaqueRef:x', 404, 'HANDLE_INVALID'],
  ] as const)('for %s fails, and its task', async ([, query, status, code]) => {
    const server = await testServer();
    const { bytes } = await samplePatch('nowhere');
    const task = await server.pool.tasks.create('upload');
    const target = `/pool_patch_upload?${query}&task_id=${task}`;
    const answer = await ask(server, target, { method: 'PUT', body: bytes, expect: true });
    expect(answer).toMatchObject({ status, continued: false });
    expect(server.pool.database.get('task', task)).toMatchObject({
      status: 'failure',
      error_info: [code, ...errorIn(answer).slice(1)],
    });
  });

  test('with a bad signature: INVALID_PATCH, the task failed, nothing left', async () => {
    const server = await testServer();
    const patch = await samplePatch('bad', 2 * MIB);
    const bytes = Buffer.from(patch.bytes);
    bytes.writeUInt8(bytes.readUInt8(MIB) ^ 1, MIB);
    const task = await server.pool.tasks.create('upload');
    const answer = await ask(server, `/pool_patch_upload?task_id=${task}`, { method: 'PUT', body: bytes });
    expect(answer.status).toBe(422);
    expect(errorIn(answer)[0]).toBe('INVALID_PATCH');
    expect(server.pool.database.get('task', task)).toMatchObject({
      status: 'failure',
      error_info: ['INVALID_PATCH'],
    });
    expect(filesOf(server.place)).toEqual([]);
    expect(server.pool.database.getAll('VDI')).toEqual([]);
    expect(server.pool.database.getAll('pool_patch')).toEqual([]);
  });

  test('that breaks off leaves nothing, and its task is cancelled', async () => {
    const server = await testServer();
    const patch = await samplePatch('broken', 4 * MIB);
    const task = await server.pool.tasks.create('upload');
    const file = join(server.place.folder, 'part');
    writeFileSync(file, patch.bytes.subarray(0, 3 * MIB));
    // Announces more than it sends, then goes away.
    const headers = ['-H', `Content-Length: ${patch.bytes.length}`, '-H', 'Expect:'];
    const url = `${server.url}/pool_patch_upload?task_id=${task}`;
    await runTool('curl', ['-sS', '-m', '2', '-T', file, ...headers, '-u', `root:${PASSWORD}`, url]);
    await expect.poll(() => server.pool.database.get('task', task).status).toBe('cancelled');
    await expect.poll(() => server.log.length).toBe(1);
    expect(filesOf(server.place)).toEqual([]);
    expect(server.pool.database.getAll('VDI')).toEqual([]);
  });

  test('is stopped by task.cancel', async () => {
    const server = await testServer();
    const task = await server.pool.tasks.create('upload');
    const waiting = ask(server, `/pool_patch_upload?task_id=${task}`, {
      method: 'PUT',
      headers: { 'Content-Length': String(MIB) },
    });
    await expect.poll(() => server.pool.database.getAll('VDI').length).toBe(1);
    await server.pool.tasks.cancel(task);
    const answer = await waiting;
    expect(answer.status).toBe(409);
    expect(errorIn(answer)).toEqual(['TASK_CANCELLED', task]);
    expect(filesOf(server.place)).toEqual([]);
  });
});

describe('a download', () => {
  test('of ranges, as RFC 9110 has them', async () => {
    const server = await testServer();
    const patch = await samplePatch('ranges', 300_000);
    await ask(server, '/pool_patch_upload', { method: 'PUT', body: patch.bytes });
    const target = `/pool_patch_download?uuid=${patch.uuid}`;
    const size = patch.bytes.length;
    const whole = await ask(server, target);
    expect(whole.headers).toMatchObject({
      'content-length': String(size),
      'accept-ranges': 'bytes',
      etag: `"${patch.sha256}"`,
    });
    // First and last byte, status; by hand from section 14.
    const cases = [
      ['bytes=0-0', 206, 0, 0],
      ['bytes=100-199', 206, 100, 199],
      ['bytes=100-', 206, 100, size - 1],
      ['bytes=-1', 206, size - 1, size - 1],
      [`bytes=0-${size + 5}`, 206, 0, size - 1],
      [`bytes=-${size + 5}`, 206, 0, size - 1],
      ['bytes=0-1,5-6', 200, 0, size - 1],
      ['lines=0-1', 200, 0, size - 1],
      ['bytes=b-a', 200, 0, size - 1],
    ] as const;
    for (const [range, status, first, last] of cases) {
      const answer = await ask(server, target, { headers: { Range: range } });
      expect(answer.status, range).toBe(status);
      expect(answer.body.equals(patch.bytes.subarray(first, last + 1)), range).toBe(true);
      const announced = status === 206 ? `bytes ${first}-${last}/${size}` : undefined;
      expect(answer.headers['content-range'], range).toBe(announced);
    }
    for (const range of [`bytes=${size}-`, 'bytes=-0']) {
      const answer = await ask(server, target, { headers: { Range: range } });
      expect(answer.status, range).toBe(416);
      expect(answer.headers['content-range']).toBe(`bytes */${size}`);
    }
    const stale = await ask(server, target, { headers: { Range: 'bytes=5-6', 'If-Range': '"other"' } });
    expect(stale.status).toBe(200);
    const head = await ask(server, target, { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, body: Buffer.alloc(0) });
    expect(head.headers['content-length']).toBe(String(size));
  });

  test("comes from the master's file while that is there", async () => {
    const server = await testServer();
    const patch = await samplePatch('old');
    const { path } = await oldPatch(server.pool, patch);
    expect(existsSync(path)).toBe(true);
    const answer = await ask(server, `/pool_patch_download?uuid=${patch.uuid}`);
    expect(sha256(answer.body)).toBe(patch.sha256);
  });

  test.for([
    ['', 400, 'BAD_REQUEST'],
    ['?uuid=../../etc/passwd', 404, 'CANNOT_FIND_PATCH'],
    ['?uuid=%00', 400, 'BAD_REQUEST'],
    ['?uuid=a&uuid=b', 400, 'BAD_REQUEST'],
    ['?uuid=00000000-0000-4000-8000-000000000000', 404, 'CANNOT_FIND_PATCH'],
  ] as const)('of %s is refused', async ([query, status, code]) => {
    const server = await testServer();
    const answer = await ask(server, `/pool_patch_download${query}`);
    expect(answer.status).toBe(status);
    expect(errorIn(answer)[0]).toBe(code);
  });
});
