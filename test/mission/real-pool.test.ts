/*
 * `patch-vdi serve --pool URL` from the built package, with a second server of ours as the real pool: killed at moments
 * of uploads and copies, and applying a patch on this machine. Nobody else's disk is touched, whatever happens.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { expectCleanText, runCli, type Ended } from '../e2e/cli.js';
import { workspace } from '../e2e/workspace.js';
import { requireHost } from '../host/host-bench.js';
import { requireTool } from '../oracles/require-tool.js';
import { scriptPatch } from '../pool/apply-bench.js';
import { samplePatch, sha256, type SamplePatch } from '../pool/test-pool.js';
import { expectUnmounted } from './remains.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => requireTool(context, 'curl', 'openssl', 'gpgv', 'mke2fs'));

const KILLS = 12;
/** The latest moment, in times of what an upload takes here and now: by then most things are over. */
const LATEST = 1.4;

type Records = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Pools {
  readonly inner: ServedPool;
  readonly outer: ServedPool;
}

async function servedPools(): Promise<Pools> {
  const inner = await ServedPool.start({
    repositories: [
      '- {name_label: fast, path: sr-fast, default: true}',
      '- {name_label: slow, path: sr-slow, capabilities: [VDI_CREATE]}',
    ],
  });
  const login = ['--user', 'root', '--password-file', inner.passwordFile];
  const trust = ['--ca-file', inner.certificate];
  const outer = await ServedPool.start({ arguments: ['--pool', inner.url, ...login, ...trust] });
  await Promise.all([inner.logIn(), outer.logIn()]);
  return { inner, outer };
}

/** UUIDs of the disks of the real pool. */
function disksOf({ inner }: Pools): string[] {
  const names = ['sr-fast', 'sr-slow'].flatMap((sr) => readdirSync(join(inner.work.folder, sr)));
  return names.flatMap((name) => /^([0-9a-f-]{36})\.raw$/.exec(name)?.[1] ?? []).sort();
}

/** Of the last start: disks that it could not tell from somebody else's. */
function unknownOf({ outer }: Pools): string[] {
  const last = outer.log.findLast(({ msg }) => msg === 'recovered');
  return (last?.['unknownDisks'] as string[] | undefined) ?? [];
}

test('what it prints names the pool and its SRs, and has no secret of the pool in it', async () => {
  const { inner, outer } = await servedPools();
  expectCleanText(outer.said);
  expect(outer.said).toContain(`real pool    ${inner.url}`);
  expect(outer.said).toMatch(/fast \(default\), .* free/);
  expect(outer.said).not.toContain(inner.password);
  expect(JSON.stringify(outer.log)).not.toContain(inner.password);
  expect(readFileSync(`/proc/${outer.pid}/cmdline`, 'utf8')).not.toContain(inner.password);
  for (const file of readdirSync(outer.state, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    expect(readFileSync(join(file.parentPath, file.name), 'latin1')).not.toContain(inner.password);
  }
  expect(await outer.stop()).toBe(0);
});

test('what cannot be, is refused in words', async () => {
  const inner = await ServedPool.start();
  const work = workspace();
  const serve = async (...more: readonly string[]): Promise<Ended> => {
    const args = [
      'serve',
      '--state',
      join(work.folder, 'state'),
      '--listen',
      '127.0.0.1:0',
      '--pool',
      inner.url,
    ];
    const ended = await runCli(work, [...args, ...more], { env: { PATCH_VDI_PASSWORD: 'wrong-horse' } });
    expectCleanText(ended.stderr);
    expect(ended.stderr).not.toContain('wrong-horse');
    return ended;
  };
  const both = await serve('--join', 'https://127.0.0.1:1');
  expect(both.exitCode).toBe(2);
  expect(both.stderr).toContain('--pool and --join');
  const config = work.input('pool.yaml', 'storage_repositories: [{name_label: own, path: own}]\n');
  const folders = await serve('--config', config);
  expect(folders.exitCode).toBe(2);
  expect(folders.stderr).toContain('either folders or those of a real pool');
  const stranger = await serve();
  expect(stranger.exitCode).toBe(8);
  expect(stranger.stderr).toContain('certificate');
  const wrong = await serve('--ca-file', inner.certificate);
  expect(wrong.exitCode).toBe(8);
  expect(wrong.stderr).toContain('name or password is wrong');
  const away = await serve('--ca-file', inner.certificate, '--pool', 'https://127.0.0.1:1');
  expect(away.exitCode).toBe(8);
});

test(`${KILLS} kills: what was acknowledged is there, half disks are gone, and others' disks are as they were`, async () => {
  const pools = await servedPools();
  const { inner, outer } = pools;
  const [slow, fast] = await Promise.all(
    ['slow', 'fast'].map(async (name) => ((await inner.call('SR.get_by_name_label', name)) as string[])[0]),
  );
  const theirs = await inner.call('VDI.create', { SR: fast, name_label: 'theirs', virtual_size: 1 * MIB });
  const foreign = String(await inner.call('VDI.get_uuid', theirs));
  const put = await inner.send('PUT', `/import_raw_vdi?vdi=${foreign}&format=raw`, Buffer.alloc(MIB, 5));
  expect(put.status).toBe(200);
  const digestOfForeign = (): string =>
    createHash('sha256')
      .update(readFileSync(join(inner.work.folder, 'sr-fast', `${foreign}.raw`)))
      .digest('hex');
  const before = digestOfForeign();
  const patches = await Promise.all(['a', 'b'].map((seed) => samplePatch(seed, 4 * MIB)));
  const [first] = patches as [SamplePatch];
  const startedAt = performance.now();
  expect((await outer.send('PUT', '/pool_patch_upload', first.bytes)).status).toBe(200);
  const latestMilliseconds = LATEST * (performance.now() - startedAt);
  const acknowledged = new Map([[first.uuid, first]]);
  const outcomes = { done: 0, cut: 0 };
  for (let kill = 0; kill < KILLS; kill += 1) {
    await outer.logIn();
    const records = (await outer.call('pool_patch.get_all_records')) as Records;
    const patch = patches[kill % patches.length] as SamplePatch;
    const uploads = async (): Promise<void> => {
      expect((await outer.send('PUT', '/pool_patch_upload', patch.bytes)).status).toBe(200);
      acknowledged.set(patch.uuid, patch);
    };
    const copies = async (): Promise<void> => {
      const [sr] = (await outer.call('SR.get_by_name_label', 'slow')) as string[];
      await outer.call('VDI.copy', Object.values(records)[0]?.['VDI'], sr);
    };
    const ended = (kill % 3 === 2 ? copies : uploads)().then(
      () => (outcomes.done += 1),
      () => (outcomes.cut += 1),
    );
    await new Promise((done) => setTimeout(done, ((kill * 5) % KILLS) * (latestMilliseconds / KILLS)));
    await outer.kill();
    await ended;
    await outer.start();
    await outer.logIn();
    const vdis = (await outer.call('VDI.get_all_records')) as Records;
    const known = Object.values(vdis).map(({ uuid }) => String(uuid));
    const failures = outer.log
      .filter(({ msg }) => msg === 'recovered')
      .flatMap((line) => line['failures'] ?? []);
    expect(failures).toEqual([]);
    // A copy whose task nobody could note any more stays, and the start says which one.
    const left = disksOf(pools).filter((uuid) => !unknownOf(pools).includes(uuid));
    expect(left, `kill ${kill}`).toEqual([...known, foreign].sort());
    expect(digestOfForeign()).toBe(before);
  }
  for (const [uuid, { bytes }] of acknowledged) {
    const { status, body } = await outer.send('GET', `/pool_patch_download?uuid=${uuid}`);
    expect([status, sha256(body)], uuid).toEqual([200, sha256(bytes)]);
  }
  // Else there was nothing to find.
  expect(outcomes.cut).toBeGreaterThan(2);
  expect(slow).toBeDefined();
}, 240_000);

test('a patch is applied on this machine: from a copy in the pool, of which nothing is left', async (context) => {
  requireHost(context);
  const pools = await servedPools();
  const { outer } = pools;
  const patch = await scriptPatch({ apply: 'echo ran as $(id -u) from $(stat -f -c %T .)' });
  const { status, body } = await outer.send('PUT', '/pool_patch_upload', patch.bytes);
  expect(status).toBe(200);
  const [host] = (await outer.call('host.get_all')) as string[];
  const disks = disksOf(pools);
  expect(disks).toHaveLength(1);
  expect(await outer.call('pool_patch.apply', body.toString().trim(), host)).toContain(
    'ran as 0 from ext2/ext3',
  );
  expect(disksOf(pools)).toEqual(disks);
  expect(existsSync(join(outer.state, 'applied', patch.uuid))).toBe(true);
  expect(readdirSync(join(outer.state, 'tmp'))).toEqual([]);
  await expectUnmounted(outer);
});
