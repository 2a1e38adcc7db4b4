/* The real pool goes away, comes back, forgets sessions, refuses: what our pool says and does meanwhile. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { MIB } from '../../../src/units.js';
import { requireTool } from '../../oracles/require-tool.js';
import { refused, samplePatch, sha256 } from '../../pool/test-pool.js';
import { thrownBy, wordsOf } from '../../xenapi/pools.js';
import {
  LOGIN,
  PASSWORD,
  SRS,
  curl,
  onlyPatch,
  onlyVdi,
  twoPools,
  upload,
  type TwoPools,
} from './two-pools.js';

beforeEach((context) => requireTool(context, 'curl', 'openssl', 'gpgv', 'mke2fs'));

const attached = ({ outer }: TwoPools): boolean[] =>
  outer.served.pool.database.all('PBD').map(([, pbd]) => pbd.currently_attached);

test('while it is away its SRs are not attached; nothing is concluded; when it is back all is as it was', async () => {
  const pools = await twoPools();
  const patch = await samplePatch('away');
  expect(await upload(pools, patch)).toMatchObject({ exitCode: 0 });
  const { pool } = pools.outer.served;
  const [vdi] = onlyVdi(pools);
  const disks = pools.disks();
  await pools.inner.stop();
  await expect.poll(() => attached(pools)).toEqual([false, false]);
  expect((await upload(pools, await samplePatch('not now'))).stdout).toContain('HOST_HAS_NO_PATCH_SR');
  expect((await refused(pool.patches.download(patch.uuid))).code).toBe('CANNOT_FETCH_PATCH');
  expect((await refused(pool.vdis.destroy(vdi))).code).toBe('SR_HAS_NO_PBDS');
  const sr = pool.database.getByUuid('SR', SRS.fast);
  expect((await refused(pool.repositories.of(sr).listVdis())).code).toBe('SR_BACKEND_FAILURE');
  expect(onlyPatch(pools)[1].VDI).toBe(vdi);
  await pools.inner.start();
  // Its sessions are new ones: ours has ended, and is made again.
  await expect.poll(() => attached(pools)).toEqual([true, true]);
  const out = join(pools.outer.folder, 'out');
  expect(await curl(pools.outer, `/pool_patch_download?uuid=${patch.uuid}`, '-f', '-o', out)).toMatchObject({
    exitCode: 0,
  });
  expect(sha256(readFileSync(out))).toBe(patch.sha256);
  expect(pools.disks()).toEqual(disks);
  expect(await upload(pools, await samplePatch('now'))).toMatchObject({ exitCode: 0 });
});

test('when it goes away while an upload comes, the half VDI goes when it is back, and nothing else', async () => {
  const pools = await twoPools();
  const kept = await samplePatch('kept');
  expect(await upload(pools, kept)).toMatchObject({ exitCode: 0 });
  const [keptDisk] = pools.disks();
  const patch = await samplePatch('half', 4 * MIB);
  const { pool } = pools.outer.served;
  async function* half() {
    yield new Uint8Array(patch.bytes.subarray(0, 3 * MIB));
    // Its disk is there, and then its pool is not.
    await expect.poll(() => pools.disks().length).toBe(2);
    await pools.inner.stop();
    yield new Uint8Array(patch.bytes.subarray(3 * MIB));
  }
  const error = await refused(pool.patches.upload({ source: half(), contentLength: patch.bytes.length }));
  expect(error.code).toBe('SR_BACKEND_FAILURE');
  await pools.inner.start();
  await expect.poll(() => pools.disks()).toEqual([keptDisk]);
  await expect.poll(() => pool.database.all('VDI').length).toBe(1);
  expect(pools.inner.served.pool.database.all('VDI')).toHaveLength(1);
});

test('what was left behind goes with the next start', async () => {
  const pools = await twoPools();
  const kept = await samplePatch('kept');
  expect(await upload(pools, kept)).toMatchObject({ exitCode: 0 });
  const [keptDisk] = pools.disks();
  const { pool } = pools.outer.served;
  // As a process leaves it that was killed just then: a record, and a disk that was asked for.
  const sr = pool.database.getByUuid('SR', SRS.slow);
  const begun = await pool.vdis.begin({ sr, nameLabel: 'half', virtualSize: 16 * MIB });
  await begun.repository.createVdi({ uuid: begun.uuid, nameLabel: 'half', virtualSize: 16 * MIB });
  expect(pools.disks('slow')).toHaveLength(1);
  await pools.outer.stop();
  await pools.outer.start();
  expect(pools.disks('slow')).toEqual([]);
  expect(pools.disks()).toEqual([keptDisk]);
  const { report } = pools.outer.served.pool;
  expect(report).toMatchObject({
    unfinishedVdis: [begun.uuid],
    lostVdis: [],
    unknownDisks: [],
    failures: [],
  });
});

test('sessions that the pool has ended are made again; the last one is logged out', async () => {
  const pools = await twoPools();
  const sessions = (): number =>
    pools.inner.log.filter((line) => line.includes('login_with_password')).length;
  const before = sessions();
  await pools.inner.stop();
  await pools.inner.start();
  const patch = await samplePatch('again');
  expect(await upload(pools, patch)).toMatchObject({ exitCode: 0 });
  // One for all that asked at once.
  expect(sessions() - before).toBeLessThanOrEqual(2);
  await pools.outer.stop();
  expect(pools.inner.log.some((line) => line.includes('session.logout'))).toBe(true);
});

test('a login that is refused ends the start, without the password in any word', async () => {
  const credentials = { ...LOGIN, password: 'wrong-horse-battery' };
  const error = await thrownBy(twoPools({ realPool: { credentials } }));
  expect(error).toMatchObject({ name: 'XenApiError', code: 'SESSION_AUTHENTICATION_FAILED' });
  expect(wordsOf(error)).not.toContain('wrong-horse');
});

test('the password is in no file of the state folder, no line of the log, and no record', async () => {
  const pools = await twoPools();
  expect(await upload(pools, await samplePatch('secret'))).toMatchObject({ exitCode: 0 });
  await pools.inner.stop();
  await upload(pools, await samplePatch('secret too'));
  await pools.inner.start();
  const files = readdirSync(pools.outer.state, { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  );
  expect(files.length).toBeGreaterThan(3);
  const texts = files.map((file) => readFileSync(join(file.parentPath, file.name), 'latin1'));
  for (const text of [...texts, pools.outer.log.join('')]) {
    for (const word of [PASSWORD, encodeURIComponent(PASSWORD), JSON.stringify(PASSWORD).slice(1, -1)]) {
      expect(text).not.toContain(word);
    }
    expect(text).not.toMatch(/session_id/);
  }
});

test('folders in the configuration and the SRs of a real pool exclude each other', async () => {
  const error = await thrownBy(twoPools({ folders: true }));
  expect(error).toMatchObject({ kind: 'usage', context: { expected: 'one of them' } });
});
