/*
 * The disk of the SR, or that of the state folder, fills up in the middle of an upload: OUT_OF_SPACE, nothing is left,
 * and with space again everything goes on.
 */
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { makeWorkspace, type Workspace } from '../e2e/workspace.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { samplePatch } from '../pool/test-pool.js';
import { SmallDisk } from '../signature/small-disk.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => {
  requireTool(context, 'mount', 'umount', 'curl');
  requireRoot(context);
});

const REPOSITORIES = ['- {name_label: small, path: sr-small, capabilities: [VDI_CLONE], default: true}'];

/** A workspace with a small disk at one of its folders. */
function onSmallDisk(folder: string, bytes: number): Workspace {
  const work = makeWorkspace();
  const path = join(work.folder, folder);
  mkdirSync(path, { mode: 0o700 });
  const disk = new SmallDisk(path, bytes);
  chmodSync(path, 0o700);
  // Runs after the server has been killed: what is registered last runs first.
  onTestFinished(() => {
    disk.close();
    work.remove();
  });
  return work;
}

/** Takes all that is left on a disk, of which a server may take some meanwhile. */
function fill(folder: string): string {
  const path = join(folder, '.filler');
  const { blocks, bsize } = statfsSync(folder);
  const fd = openSync(path, 'w');
  try {
    for (let block = 0; block <= blocks; block += 1) writeSync(fd, Buffer.alloc(bsize));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    return path;
  } finally {
    closeSync(fd);
  }
  throw new Error(`${folder} has more room than it says`);
}

/** Sends the first half of a body, calls `between` when the server has written of it, then sends the rest. */
async function uploadWithPause(
  served: ServedPool,
  body: Buffer,
  between: () => Promise<void> | void,
): Promise<{ status: number; error: string }> {
  const { hostname, port } = new URL(served.url);
  return await new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        hostname,
        port,
        method: 'PUT',
        path: '/pool_patch_upload',
        rejectUnauthorized: false,
        auth: `root:${served.password}`,
        headers: { 'Content-Length': body.length },
        agent: false,
      },
      (response) => {
        let text = '';
        response.on('data', (part: Buffer) => (text += part.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, error: text }));
      },
    );
    request.on('error', reject);
    request.write(body.subarray(0, body.length / 2), () => {
      setTimeout(
        () =>
          void Promise.resolve()
            .then(between)
            .then(() => request.end(body.subarray(body.length / 2)), reject),
        300,
      );
    });
  });
}

/** What is in the SR besides its mark. */
function inSr(served: ServedPool): string[] {
  const names = readdirSync(join(served.work.folder, 'sr-small'));
  return names.filter((name) => name !== '.patch-vdi-sr.json' && name !== '.filler');
}

test('the disk of the SR', async () => {
  const work = onSmallDisk('sr-small', 64 * MIB);
  const served = await ServedPool.start({ work, repositories: REPOSITORIES });
  const { bytes, uuid } = await samplePatch('SR full', 8 * MIB);
  let filler = '';
  const refused = await uploadWithPause(served, bytes, () => {
    filler = fill(join(work.folder, 'sr-small'));
  });
  expect(refused.status).toBe(507);
  expect(JSON.parse(refused.error)).toMatchObject({ error: { code: 'OUT_OF_SPACE' } });
  expect(inSr(served)).toEqual([]);
  await served.logIn();
  expect(await served.call('VDI.get_all')).toEqual([]);
  expect(await served.call('pool_patch.get_all')).toEqual([]);
  rmSync(filler);
  expect((await served.send('PUT', '/pool_patch_upload', bytes)).status).toBe(200);
  expect(await served.call('pool_patch.get_by_uuid', uuid)).toMatch(/^OpaqueRef:/);
});

test('the disk of the state folder', async () => {
  const work = onSmallDisk('pool-state', 8 * MIB);
  const served = await ServedPool.start({ work, repositories: REPOSITORIES });
  await served.logIn();
  const filler = fill(served.state);
  // The journal may have room within its last page: sooner or later a change does not fit.
  const acknowledged: string[] = [];
  let refusal: string | undefined;
  for (let tries = 0; refusal === undefined && tries < 20; tries += 1) {
    const { bytes, uuid } = await samplePatch(`state full ${tries}`, MIB);
    const { status, body } = await served.send('PUT', '/pool_patch_upload', bytes);
    if (status === 200) acknowledged.push(uuid);
    else refusal = body.toString();
  }
  const expected = { error: { code: 'OUT_OF_SPACE', parameters: [served.state] } };
  expect(JSON.parse(refusal ?? '{}')).toEqual(expected);
  // What is there can be looked at, and nothing else is there.
  const expectOnlyAcknowledged = async (): Promise<void> => {
    const records = Object.values(
      (await served.call('pool_patch.get_all_records')) as Record<string, { uuid: string }>,
    );
    expect(records.map(({ uuid }) => uuid).sort()).toEqual(acknowledged.toSorted());
    expect(inSr(served)).toHaveLength(acknowledged.length);
  };
  await expectOnlyAcknowledged();
  rmSync(filler);
  const { bytes, uuid } = await samplePatch('room again', 4 * MIB);
  expect((await served.send('PUT', '/pool_patch_upload', bytes)).status).toBe(200);
  acknowledged.push(uuid);
  await served.kill();
  await served.start();
  await served.logIn();
  await expectOnlyAcknowledged();
});
