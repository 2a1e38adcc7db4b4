/*
 * `PUT /import_raw_vdi` and `GET /export_raw_vdi`: qemu-img judges what goes in and what comes out.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { samplePatch, srRef } from '../pool/test-pool.js';
import { runTool } from './run-tool.js';
import { PASSWORD, ask, errorIn, testServer, type TestServer } from './test-server.js';

beforeEach((context) => requireTool(context, 'qemu-img', 'curl'));

const DISK_BYTES = 16 * MIB;

function diskContent(): Buffer {
  const disk = Buffer.alloc(DISK_BYTES);
  // In the first sector, across two VHD blocks, and in the last sector.
  disk.write('first', 0);
  disk.fill(7, 2 * MIB - 700, 2 * MIB + 700);
  disk.write('last', DISK_BYTES - 4);
  return disk;
}

async function newVdi({ pool }: TestServer): Promise<string> {
  return await pool.vdis.create({ sr: srRef(pool, 'one'), nameLabel: 'disk', virtualSize: DISK_BYTES });
}

async function ended({ pool }: TestServer, task: string): Promise<string> {
  await expect.poll(() => pool.database.get('task', task).status).not.toBe('pending');
  return pool.database.get('task', task).status;
}

async function exported(server: TestServer, vdi: string, format: string): Promise<Buffer> {
  const out = join(server.place.folder, `out.${format}`);
  const url = `${server.url}/export_raw_vdi?vdi=${vdi}&format=${format}`;
  const got = await runTool('curl', ['-sS', '-f', '-o', out, '-u', `admin:${PASSWORD}`, url]);
  expect(got).toMatchObject({ exitCode: 0, stderr: '' });
  return readFileSync(out);
}

describe('a disk', () => {
  test('goes in as raw with curl, and comes out as raw and as a VHD that qemu-img reads', async () => {
    const server = await testServer();
    const vdi = await newVdi(server);
    const file = join(server.place.folder, 'disk.raw');
    writeFileSync(file, diskContent());
    const url = `${server.url}/import_raw_vdi?vdi=${vdi}&format=raw`;
    const put = await runTool('curl', ['-sS', '-f', '-i', '-T', file, '-u', `admin:${PASSWORD}`, url]);
    expect(put).toMatchObject({ exitCode: 0, stderr: '' });
    const task = /^task-id: (\S+)/im.exec(put.stdout)?.[1] ?? '';
    expect(await ended(server, task)).toBe('success');
    expect(server.pool.database.get('task', task).result).toBe(`<value>${vdi}</value>`);
    expect((await exported(server, vdi, 'raw')).equals(diskContent())).toBe(true);
    const { uuid } = server.pool.database.get('VDI', vdi);
    await exported(server, uuid, 'vhd');
    const paths = ['out.vhd', 'converted.raw'].map((name) => join(server.place.folder, name));
    expect(await runTool('qemu-img', ['convert', '-f', 'vpc', '-O', 'raw', ...paths])).toMatchObject({
      exitCode: 0,
    });
    expect(readFileSync(paths[1] ?? '').equals(diskContent())).toBe(true);
  });

  test('goes in as a VHD of qemu-img', async () => {
    const server = await testServer();
    const vdi = await newVdi(server);
    const raw = join(server.place.folder, 'disk.raw');
    const vhd = join(server.place.folder, 'disk.vhd');
    writeFileSync(raw, diskContent());
    const convert = ['convert', '-f', 'raw', '-O', 'vpc', '-o', 'force_size=on', raw, vhd];
    expect(await runTool('qemu-img', convert)).toMatchObject({ exitCode: 0 });
    const task = await server.pool.tasks.create('import');
    const target = `/import_raw_vdi?vdi=${vdi}&format=vhd&task_id=${task}`;
    const vhdBytes = readFileSync(vhd);
    // Somebody else's task tells nobody else's story.
    const foreign = await ask(server, target, { method: 'PUT', user: 'admin', body: vhdBytes, expect: true });
    expect(foreign).toMatchObject({ status: 403, continued: false });
    server.owners.add(task, { name: 'admin', role: 'vm-admin' });
    const answer = await ask(server, target, { method: 'PUT', user: 'admin', body: vhdBytes });
    expect(answer).toMatchObject({ status: 200, headers: { 'task-id': task } });
    expect(await ended(server, task)).toBe('success');
    expect((await exported(server, vdi, 'raw')).equals(diskContent())).toBe(true);
  });

  test('keeps its content when the import fails: the task says so, and the connection breaks', async () => {
    const server = await testServer();
    const vdi = await newVdi(server);
    const first = await ask(server, `/import_raw_vdi?vdi=${vdi}`, { method: 'PUT', body: diskContent() });
    expect(first.status).toBe(200);
    const task = await server.pool.tasks.create('import');
    const target = `/import_raw_vdi?vdi=${vdi}&format=vhd&task_id=${task}`;
    const body = Buffer.alloc(MIB, 3);
    await expect(ask(server, target, { method: 'PUT', body })).rejects.toThrow(
      /aborted|hang up|ECONNRESET|EPIPE/,
    );
    expect(await ended(server, task)).toBe('failure');
    expect(server.pool.database.get('task', task).error_info).toEqual(['VDI_IO_ERROR', 'Device I/O errors']);
    expect((await exported(server, vdi, 'raw')).equals(diskContent())).toBe(true);
  });
});

describe('refused before a byte is read', () => {
  interface Refusal {
    readonly query: string;
    readonly user?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly status: number;
    readonly code: string;
  }

  test.for<[string, Refusal]>([
    ['no disk', { query: '', status: 400, code: 'BAD_REQUEST' }],
    ['a disk that is not there', { query: 'vdi=OpaqueRef:x', status: 404, code: 'HANDLE_INVALID' }],
    ['a strange format', { query: 'vdi=VDI&format=vmdk', status: 422, code: 'VALUE_NOT_SUPPORTED' }],
    [
      'Transfer-Encoding',
      { query: 'vdi=VDI', headers: { 'Transfer-Encoding': 'chunked' }, status: 404, code: 'NOT_FOUND' },
    ],
    ['a parameter "chunked"', { query: 'vdi=VDI&format=vhd&chunked=1', status: 404, code: 'NOT_FOUND' }],
    [
      'somebody who may not',
      { query: 'vdi=VDI', user: 'reader', status: 403, code: 'RBAC_PERMISSION_DENIED' },
    ],
  ])('%s', async ([, { query, user = 'admin', headers = { 'Content-Length': '512' }, status, code }]) => {
    const server = await testServer();
    const vdi = await newVdi(server);
    const target = `/import_raw_vdi?${query.replace('VDI', vdi)}`;
    const answer = await ask(server, target, { method: 'PUT', user, expect: true, headers });
    expect(answer).toMatchObject({ status, continued: false });
    expect(errorIn(answer)[0]).toBe(code);
  });

  test('the disk of a patch: what was verified stays what it is', async () => {
    const server = await testServer();
    const patch = await samplePatch('protected');
    expect((await ask(server, '/pool_patch_upload', { method: 'PUT', body: patch.bytes })).status).toBe(200);
    const [[vdi, { virtual_size }] = ['', { virtual_size: 0 }]] = server.pool.database.all('VDI');
    const headers = { 'Content-Length': String(virtual_size) };
    const target = `/import_raw_vdi?vdi=${vdi}`;
    const answer = await ask(server, target, { method: 'PUT', user: 'admin', expect: true, headers });
    expect(answer).toMatchObject({ status: 409, continued: false });
    expect(errorIn(answer)).toEqual(['OPERATION_NOT_ALLOWED', expect.stringContaining(patch.uuid)]);
    const download = await ask(server, `/pool_patch_download?uuid=${patch.uuid}`);
    expect(download.body.equals(patch.bytes)).toBe(true);
  });

  test.for<[string, string, string]>([
    ['an import', 'PUT', '/import_raw_vdi?vdi=OpaqueRef:x'],
    ['an export', 'GET', '/export_raw_vdi?vdi=OpaqueRef:x'],
    ['a download', 'GET', '/pool_patch_download?sr=x'],
    ['an upload', 'PUT', '/pool_patch_upload?sr_uuid=x'],
  ])('ends the task that came with it: %s', async ([, method, target]) => {
    const server = await testServer();
    const task = await server.pool.tasks.create('mine');
    const headers = method === 'PUT' ? { 'Content-Length': '512' } : {};
    const refused = await ask(server, `${target}&task_id=${task}`, {
      method,
      expect: method === 'PUT',
      headers,
    });
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect(server.pool.database.get('task', task).status).toBe('failure');
  });

  test('a disk that is being written', async () => {
    const server = await testServer();
    const patch = await samplePatch('under way');
    const task = await server.pool.tasks.create('upload');
    const target = `/pool_patch_upload?task_id=${task}`;
    const waiting = ask(server, target, {
      method: 'PUT',
      headers: { 'Content-Length': String(patch.bytes.length) },
    });
    await expect.poll(() => server.pool.database.getAll('VDI').length).toBe(1);
    const [vdi = ''] = server.pool.database.getAll('VDI');
    const answer = await ask(server, `/export_raw_vdi?vdi=${vdi}`);
    expect(answer.status).toBe(409);
    expect(errorIn(answer)).toEqual(['OTHER_OPERATION_IN_PROGRESS', 'VDI', vdi]);
    await server.pool.tasks.cancel(task);
    expect((await waiting).status).toBe(409);
  });
});
