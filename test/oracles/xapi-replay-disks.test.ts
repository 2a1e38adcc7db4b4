import { appendFileSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { requireTool } from './require-tool.js';
import { temporaryFolder } from './temporary-folder.js';
import { withDisks, type Disks } from './xapi-replay-disks.js';
import { startReplay, vdiFields, type Replay } from './xapi-replay.js';

/* The replay judges our client; curl and qemu-img, which know neither, show that it can refuse, and takes what is right. */

beforeEach((context) => requireTool(context, 'curl', 'qemu-img'));

interface Scene {
  readonly pool: Replay;
  readonly disks: Disks;
  /** A VHD that qemu-img made. */
  readonly vhd: string;
  readonly url: string;
  readonly task: () => Record<string, unknown>;
}

async function scene(): Promise<Scene> {
  const pool = await startReplay();
  const disks = withDisks(pool);
  const [sr = ''] = pool.tables.SR.keys();
  pool.sessions.add('OpaqueRef:s');
  pool.tables.VDI.set('OpaqueRef:v', vdiFields('v', sr, 16 * MIB));
  pool.tables.task.set('OpaqueRef:t', { status: 'pending', error_info: [] });
  const vhd = join(temporaryFolder(), 'disk.vhd');
  await execa('qemu-img', ['create', '-q', '-f', 'vpc', vhd, '16M']);
  const url = `${pool.url}/import_raw_vdi?vdi=OpaqueRef:v&format=vhd&task_id=OpaqueRef:t&session_id=OpaqueRef:s`;
  return { pool, disks, vhd, url, task: () => pool.tables.task.get('OpaqueRef:t') ?? {} };
}

/** @returns the status */
async function put(file: string, url: string, ...more: readonly string[]): Promise<number> {
  const args = ['-sS', '--noproxy', '*', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Expect:', ...more];
  const { stdout } = await execa('curl', [...args, '-T', file, url], { reject: false });
  return Number(stdout);
}

describe('PUT /import_raw_vdi of the replay', () => {
  test('takes a VHD of qemu-img', async () => {
    const { disks, vhd, url, task } = await scene();
    expect(await put(vhd, url)).toBe(200);
    expect(task()).toMatchObject({ status: 'success', result: 'OpaqueRef:v' });
    expect(disks.contents.get('OpaqueRef:v')?.equals(readFileSync(vhd))).toBe(true);
  });

  test.for([
    ['512 bytes more', 512],
    ['512 bytes less', -512],
  ] as const)('"±512 fails": %s', async ([, bytes]) => {
    const { vhd, url, task } = await scene();
    if (bytes > 0) appendFileSync(vhd, Buffer.alloc(bytes));
    else truncateSync(vhd, readFileSync(vhd).length + bytes);
    // The 200 comes all the same.
    expect(await put(vhd, url)).toBe(200);
    expect(task()).toMatchObject({ status: 'failure', error_info: ['VDI_IO_ERROR', 'Device I/O errors'] });
  });

  test('refuses Transfer-Encoding, and `chunked` with VHD', async () => {
    const { vhd, url, task } = await scene();
    expect(await put(vhd, url, '-H', 'Transfer-Encoding: chunked')).toBe(404);
    expect(await put(vhd, `${url}&chunked=true`)).toBe(404);
    expect(task()).toMatchObject({ status: 'pending' });
  });

  test('refuses who has no session, and what is no VDI', async () => {
    const { vhd, url } = await scene();
    expect(await put(vhd, url.replace('OpaqueRef:s', 'OpaqueRef:x'))).toBe(401);
    expect(await put(vhd, url.replace('OpaqueRef:v', 'OpaqueRef:x'))).toBe(400);
  });

  test('fails the task of a body that is cut', async () => {
    const { vhd, url, task, disks } = await scene();
    const length = readFileSync(vhd).length;
    await put(vhd, url, '-H', `Content-Length: ${length + 4096}`, '--max-time', '1');
    await expect.poll(task).toMatchObject({ status: 'failure' });
    expect(disks.contents.get('OpaqueRef:v')?.length).toBe(length);
  });
});
