/* The SRs of a pool that speaks as XAPI does (the replay, written by hand from xapi-facts.md), oddities and all. */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { openPool, type Pool } from '../../../src/pool/open-pool.js';
import { openRealStorage } from '../../../src/server/real-pool/real-storage.js';
import { DEFAULT_SEARCH_PATH } from '../../../src/tools/find.js';
import { MIB } from '../../../src/units.js';
import { USELESS, usesOf } from '../../e2e/judges/importer.js';
import { requireTool } from '../../oracles/require-tool.js';
import { runJudge } from '../../oracles/run-judge.js';
import { temporaryFolder } from '../../oracles/temporary-folder.js';
import { changeSr, fail, succeed, withDisks, type Disks } from '../../oracles/xapi-replay-disks.js';
import { ReplayError, startReplay, type Replay } from '../../oracles/xapi-replay.js';
import { inChunks, poolPlace, refused, samplePatch, sha256, type SamplePatch } from '../../pool/test-pool.js';
import { LOGIN, TIMEOUTS, thrownBy } from '../../xenapi/pools.js';

beforeEach((context) => requireTool(context, 'gpgv', 'mke2fs', 'qemu-img', 'e2fsck'));

interface Scene {
  readonly there: Replay;
  readonly disks: Disks;
}

async function replay(): Promise<Scene> {
  const there = await startReplay();
  return { there, disks: withDisks(there) };
}

/** Our pool, with the SRs of that one. */
async function serving({ there }: Scene, folder = temporaryFolder()): Promise<Pool> {
  const { keyring, state } = poolPlace(folder);
  const { url } = there;
  const storage = await openRealStorage({
    url,
    credentials: LOGIN,
    trust: 'system',
    timeouts: TIMEOUTS,
    lookMilliseconds: 0,
  });
  const pool = await openPool({
    stateFolder: state,
    repositories: (owner) =>
      storage.repositories({ owner, version: '1.2.3', spoolFolder: join(state, 'tmp'), now: Date.now }),
    defaultSr: storage.defaultSr,
    policy: { keyrings: [keyring] },
    environment: { searchPath: DEFAULT_SEARCH_PATH },
    hostName: 'host-one',
    address: '127.0.0.1',
    now: Date.now,
    newUuid: randomUUID,
  });
  onTestFinished(async () => {
    await pool.close();
    await storage.link.close();
  });
  return pool;
}

const upload = (pool: Pool, { bytes }: SamplePatch): Promise<string> =>
  pool.patches.upload({ source: inChunks(bytes), contentLength: bytes.length });

/** Nothing of an upload that failed. */
function expectUndone({ there }: Scene, pool: Pool): void {
  expect([...there.tables.VDI.keys()]).toEqual([]);
  expect([...there.tables.task.keys()]).toEqual([]);
  expect(pool.database.all('VDI')).toEqual([]);
}

const uuidsOf = (pool: Pool): string[] => pool.database.all('SR').map(([, { name_label }]) => name_label);

describe('which SRs', () => {
  test('no discs, no drives, none whose driver cannot make a VDI', async () => {
    const scene = await replay();
    changeSr(scene.there, 'Shared storage', { type: 'iso', content_type: 'iso' });
    expect(uuidsOf(await serving(scene))).toEqual(['Local storage']);
    changeSr(scene.there, 'Shared storage', { type: 'udev', content_type: 'disk' });
    expect(uuidsOf(await serving(scene))).toEqual(['Local storage']);
    changeSr(scene.there, 'Shared storage', { type: 'nfs', content_type: '' });
    scene.disks.sms.set('OpaqueRef:sm-nfs', { type: 'nfs', capabilities: ['SR_PROBE'] });
    expect(uuidsOf(await serving(scene))).toEqual(['Local storage']);
    scene.disks.sms.set('OpaqueRef:sm-nfs', { type: 'nfs', capabilities: ['VDI_CREATE'] });
    expect(uuidsOf(await serving(scene))).toEqual(['Local storage', 'Shared storage']);
  });

  test('without any, the start says so', async () => {
    const scene = await replay();
    scene.disks.pbds.clear();
    expect(await thrownBy(serving(scene))).toMatchObject({ kind: 'usage' });
  });

  test('one that is not attached is not used, though it be the default', async () => {
    const scene = await replay();
    const local = changeSr(scene.there, 'Local storage', {});
    for (const pbd of scene.disks.pbds.values()) if (pbd['SR'] === local) pbd['currently_attached'] = false;
    const pool = await serving(scene);
    expect(pool.report.unreachableSrs).toEqual([scene.there.tables.SR.get(local)?.['uuid']]);
    await upload(pool, await samplePatch('elsewhere'));
    const [vdi] = scene.there.tables.VDI.values();
    expect(vdi?.['SR']).not.toBe(local);
  });

  test('a VDI to which the pool gives no UUID is not taken, and does not stay', async () => {
    const scene = await replay();
    const pool = await serving(scene);
    const create = scene.there.answers.get('VDI.create');
    scene.there.answers.set('VDI.create', (params) => {
      const ref = String(create?.(params));
      Object.assign(scene.there.tables.VDI.get(ref) ?? {}, { uuid: '../../etc/passwd' });
      return ref;
    });
    expect((await refused(upload(pool, await samplePatch('no uuid')))).code).toBe('SR_BACKEND_FAILURE');
    expectUndone(scene, pool);
  });

  test('names are one line, whatever the pool calls them', async () => {
    const scene = await replay();
    changeSr(scene.there, 'Local storage', { name_label: 'Local\u001B[31m\nstorage' });
    expect(uuidsOf(await serving(scene))[0]).toBe('Local [31m storage');
  });
});

describe('an upload', () => {
  test('goes as a VHD in one pass: the length announced, the labels, no task left', async () => {
    const scene = await replay();
    scene.disks.roundBytes = 4 * MIB;
    const pool = await serving(scene);
    const patch = await samplePatch('vhd', 5 * MIB);
    await upload(pool, patch);
    const [[ref, vdi] = ['', {}]] = scene.there.tables.VDI;
    const content = scene.disks.contents.get(ref) ?? Buffer.alloc(0);
    const request = scene.there.requests.find(({ path }) => path === '/import_raw_vdi');
    expect(request?.query.get('format')).toBe('vhd');
    expect(request?.headers['content-length']).toBe(String(content.length));
    const [vhd, raw] = ['image.vhd', 'image.raw'].map((name) => join(temporaryFolder(), name)) as [
      string,
      string,
    ];
    writeFileSync(vhd, content);
    expect(runJudge('qemu-img', ['convert', '-f', 'vpc', '-O', 'raw', vhd, raw]).exitCode).toBe(0);
    expect(runJudge('e2fsck', ['-fn', raw]).exitCode).toBe(0);
    const record = pool.database.all('VDI')[0]?.[1];
    expect(record).toMatchObject({ uuid: vdi['uuid'], virtual_size: vdi['virtual_size'] });
    expect(vdi['name_label']).toBe(record?.name_label);
    expect(vdi['other_config']).toMatchObject({ 'patch-vdi:sha256': patch.sha256 });
    expect([...scene.there.tables.task.keys()]).toEqual([]);
  });

  test('that is forged was never more than an image without its seal', async () => {
    const scene = await replay();
    const pool = await serving(scene);
    const patch = await samplePatch('forged', 3 * MIB);
    const path = join(temporaryFolder(), 'arrived');
    const arrived = async (): Promise<object> => {
      writeFileSync(path, [...scene.disks.contents.values()].at(-1) ?? Buffer.alloc(0));
      return await usesOf(path, 'vhd');
    };
    const forged = { ...patch, bytes: Buffer.from(patch.bytes) };
    forged.bytes.writeUInt8(forged.bytes.readUInt8(MIB) ^ 1, MIB);
    expect((await refused(upload(pool, forged))).code).toBe('INVALID_PATCH');
    expectUndone(scene, pool);
    expect(await arrived()).toMatchObject(USELESS);
    // Sabotage: of one that is not forged the same judge says otherwise.
    await upload(pool, patch);
    expect(await arrived()).not.toMatchObject(USELESS);
  });

  test('goes as raw where the SR cannot take VHD, and comes out again; sessions end meanwhile', async () => {
    const scene = await replay();
    changeSr(scene.there, 'Local storage', { type: 'lvm', sm_config: {} });
    scene.disks.sms.set('OpaqueRef:sm-lvm', { type: 'lvm', capabilities: ['VDI_CREATE', 'VDI_CLONE'] });
    const pool = await serving(scene);
    const patch = await samplePatch('raw', 2 * MIB);
    scene.there.sessions.clear();
    await upload(pool, patch);
    expect(scene.there.requests.find(({ path }) => path === '/import_raw_vdi')?.query.get('format')).toBe(
      'raw',
    );
    scene.there.sessions.clear();
    const download = await pool.patches.download(patch.uuid);
    const parts: Uint8Array[] = [];
    for await (const part of download.stream()) parts.push(part);
    // Again, from the middle: the pool offers no ranges.
    for await (const part of download.stream({ start: MIB, end: MIB + 5 })) parts.push(part);
    await download.close();
    expect(sha256(Buffer.concat(parts.slice(0, -1)))).toBe(patch.sha256);
    expect(Buffer.from(parts.at(-1) ?? [])).toEqual(patch.bytes.subarray(MIB, MIB + 5));
    expect(scene.there.sessions.size).toBe(1);
  });

  test('fails when the task fails after the 200 and all of the body, and nothing is left', async () => {
    const scene = await replay();
    const pool = await serving(scene);
    scene.disks.finish = (running) => fail(running, 'VDI_IO_ERROR', 'Device I/O errors');
    const patch = await samplePatch('late');
    expect((await refused(upload(pool, patch))).code).toBe('VDI_IO_ERROR');
    expectUndone(scene, pool);
    // Sabotage: the same with a task that succeeds.
    scene.disks.finish = succeed;
    await upload(pool, patch);
    expect(scene.there.tables.VDI.size).toBe(1);
  });

  test('that is cancelled is gone: the VDI, as soon as the host lets go of it, and the task', async () => {
    const scene = await replay();
    scene.disks.busyMilliseconds = 200;
    const pool = await serving(scene);
    const stop = new AbortController();
    scene.disks.during = () => {
      stop.abort(new Error('enough'));
      return false;
    };
    const { bytes } = await samplePatch('cancelled', 4 * MIB);
    const request = { source: inChunks(bytes), contentLength: bytes.length, signal: stop.signal };
    expect((await refused(pool.patches.upload(request))).code).toBe('TASK_CANCELLED');
    expectUndone(scene, pool);
    expect(scene.there.callsOf('task.cancel')).toHaveLength(1);
  });

  test('whose disk cannot be made: full, as drivers say it, and as the pool’s figures say it', async () => {
    const scene = await replay();
    const pool = await serving(scene);
    const patch = await samplePatch('full');
    const create = scene.there.answers.get('VDI.create');
    scene.there.answers.set('VDI.create', () => {
      throw new ReplayError('SR_BACKEND_FAILURE_44', '', 'There is insufficient space', '');
    });
    expect((await refused(upload(pool, patch))).code).toBe('OUT_OF_SPACE');
    scene.there.answers.set('VDI.create', () => {
      throw new ReplayError('SR_BACKEND_FAILURE_47', '', 'The SR is not available', '');
    });
    const error = await refused(upload(pool, patch));
    expect(error).toMatchObject({
      code: 'SR_BACKEND_FAILURE',
      parameters: ['SR_BACKEND_FAILURE_47', expect.anything(), ''],
    });
    if (create !== undefined) scene.there.answers.set('VDI.create', create);
    changeSr(scene.there, 'Local storage', { physical_size: 10 * MIB, physical_utilisation: MIB });
    expect((await refused(upload(pool, patch))).code).toBe('OUT_OF_SPACE');
    expectUndone(scene, pool);
    // What a pool does not know is no reason to refuse.
    changeSr(scene.there, 'Local storage', { physical_size: -1, physical_utilisation: -1 });
    await upload(pool, patch);
    expect(scene.there.tables.VDI.size).toBe(1);
  });

  test('whose disk was made while its answer was lost', async () => {
    const scene = await replay();
    const pool = await serving(scene);
    const create = scene.there.answers.get('VDI.create');
    scene.there.answers.set('VDI.create', (params) => {
      const ref = create?.(params);
      for (const socket of scene.there.sockets) socket.destroy();
      return ref;
    });
    expect((await refused(upload(pool, await samplePatch('lost')))).code).toBe('SR_BACKEND_FAILURE');
    expect(scene.there.callsOf('VDI.create')).toHaveLength(1);
    expectUndone(scene, pool);
  });
});

test('another host becomes the master: it is followed', async () => {
  const scene = await replay();
  const pool = await serving(scene);
  await upload(pool, await samplePatch('before'));
  // The same pool, at another address.
  const heir = await startReplay();
  for (const name of ['pool', 'host', 'SR', 'VDI'] as const) {
    heir.tables[name].clear();
    for (const [ref, record] of scene.there.tables[name]) heir.tables[name].set(ref, record);
  }
  const disks = withDisks(heir);
  scene.there.sessions.clear();
  scene.there.answers.set('session.login_with_password', () => {
    throw new ReplayError('HOST_IS_SLAVE', `127.0.0.1:${heir.port}`);
  });
  const [sr] = pool.repositories.all;
  await expect.poll(() => sr?.isReachable()).toBe(true);
  await upload(pool, await samplePatch('after'));
  expect(heir.tables.VDI.size).toBe(2);
  expect(disks.contents.size).toBe(1);
});
