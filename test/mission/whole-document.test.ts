/*
 * The mission's document, `patches-in-vdis.md`, from top to bottom, sentence by sentence, against two hosts that were
 * started for real: curl uploads, Python's XML-RPC client and the npm package xen-api call, debugfs looks into the
 * disk. The sentences are quoted as they stand there. (one-host.test.ts, apply-*.test.ts and two-hosts.test.ts go
 * deeper into each of them.)
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { GIB, MIB } from '../../src/units.js';
import { requireHost } from '../host/host-bench.js';
import { requireTool } from '../oracles/require-tool.js';
import { scriptPatch } from '../pool/apply-bench.js';
import { samplePatch, sha256, type SamplePatch } from '../pool/test-pool.js';
import { runTool } from '../server/run-tool.js';
import { expectUnmounted } from './remains.js';
import type { ServedPool } from './served-pool.js';
import { MASTER_SR, SLAVE_SR, recordsOf, refOf, startTwoHosts, waitForPbd } from './two-hosts.js';

beforeEach((context) => {
  requireHost(context);
  requireTool(context, 'curl', 'python3', 'debugfs', 'e2fsck');
});

const NULL_REF = 'OpaqueRef:NULL';
/** Of the slave's SR. */
const QUOTA_BYTES = 64 * MIB;

/** One sentence, or a part of one; a failure names it. */
async function sentence(words: string, play: () => Promise<void>): Promise<void> {
  try {
    await play();
  } catch (error) {
    throw new Error(`"${words}"`, { cause: error });
  }
}

async function upload(
  master: ServedPool,
  patch: SamplePatch,
  ...options: readonly string[]
): Promise<string> {
  const file = master.work.input('hotfix.xsupdate', patch.bytes);
  const put = await master.curl('-f', ...options, '-T', file, '/pool_patch_upload');
  expect(put).toMatchObject({ exitCode: 0, stderr: '' });
  return put.stdout.trim();
}

async function digestOfDownload(master: ServedPool, uuid: string): Promise<string> {
  const { status, body } = await master.send('GET', `/pool_patch_download?uuid=${uuid}`);
  expect(status).toBe(200);
  return sha256(body);
}

const disksIn = (served: ServedPool, sr: string): string[] =>
  readdirSync(join(served.work.folder, sr)).filter((name) => name.endsWith('.raw'));

test('patches in VDIs, played by two hosts', async () => {
  const { master, slave } = await startTwoHosts(undefined, `${QUOTA_BYTES / MIB}M`);
  expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  const xapi = await master.xenApi();
  const hosts = Object.entries(await recordsOf(master, 'host'));
  const hostOf = (name: string): string =>
    hosts.find(([, record]) => record['name_label'] === name)?.[0] ?? '';
  const vdiOf = async (patch: string): Promise<string> =>
    String(await master.call('pool_patch.get_VDI', patch));
  const failure = async (call: Promise<unknown>): Promise<string> =>
    await call.then(
      () => 'no failure',
      (error: unknown) => String(error),
    );

  const first = await samplePatch('first', 6 * MIB);
  let ref = '';
  await sentence(
    'Add a field `pool_patch.VDI` of type `Ref(VDI)`. When a new patch is stored in a VDI, it will be referenced here.',
    async () => {
      ref = await upload(master, first);
      await xapi.barrier();
      const vdi = String(xapi.getObjectByRef(ref)?.['VDI']);
      expect(xapi.getObjectByRef(vdi)).toMatchObject({ $type: 'VDI' });
    },
  );
  await sentence(
    'The HTTP handler for uploading patches will choose an SR to stream the patch into. It will prefer to use the `pool.default_SR`',
    async () => {
      expect(await master.call('VDI.get_SR', await vdiOf(ref))).toBe(await refOf(master, 'SR', MASTER_SR));
    },
  );
  await sentence(
    'and fall back to choosing an SR on the master whose driver supports the `VDI_CLONE` capability',
    async () => {
      const [pool] = Object.keys(await recordsOf(master, 'pool'));
      await master.call('pool.set_default_SR', pool, NULL_REF);
      const second = await upload(master, await samplePatch('without a default'));
      const sr = await master.call('VDI.get_SR', await vdiOf(second));
      // Not one of the slave's.
      expect(sr).toBe(await refOf(master, 'SR', MASTER_SR));
      const type = await master.call('SR.get_type', sr);
      const drivers = Object.values(await recordsOf(master, 'SM'));
      const [driver] = drivers.filter((record) => record['type'] === type);
      expect(driver?.['capabilities']).toContain('VDI_CLONE');
      await master.call('pool.set_default_SR', pool, sr);
      await master.call('pool_patch.destroy', second);
    },
  );
  await sentence('A VDI will be created whose size is 4x the apparent size of the patch', async () => {
    expect(first.bytes.length).toBe(6 * MIB);
    expect(await master.call('VDI.get_virtual_size', await vdiOf(ref))).toBe(24 * MIB);
  });
  await sentence(
    'defaulting to 4GiB if we have no size information (i.e. no `content-length` header)',
    async () => {
      const other = await upload(master, await samplePatch('no length'), '-H', 'Transfer-Encoding: chunked');
      expect(await master.call('VDI.get_virtual_size', await vdiOf(other))).toBe(4 * GIB);
      await master.call('pool_patch.destroy', other);
    },
  );

  // An "older patch": a file on the master. One that was put there by hand gets its record at a start.
  const old = await scriptPatch({ name: 'old', apply: 'echo from the file' });
  const oldFile = join(master.state, 'patches', old.uuid);
  let oldRef = '';
  await sentence('Older patches and cleaned patches will have invalid references here.', async () => {
    expect(await master.stop()).toBe(0);
    writeFileSync(oldFile, old.bytes, { mode: 0o600 });
    await master.start(true);
    await master.logIn();
    oldRef = await refOf(master, 'pool_patch', old.uuid);
    expect(await vdiOf(oldRef)).toBe(NULL_REF);
    expect(await digestOfDownload(master, old.uuid)).toBe(old.sha256);
    expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
  });

  await sentence(
    "If the patch is still in the master's dom0 filesystem then it will fall back to the HTTP handler.",
    async () => {
      expect(await master.call('pool_patch.apply', oldRef, hostOf('slave'))).toContain('from the file');
      expect(readdirSync(join(slave.state, 'applied'))).toEqual([old.uuid]);
      expect(existsSync(join(slave.state, 'patches', old.uuid))).toBe(false);
      expect(disksIn(slave, 'sr-slave')).toEqual([]);
      await expectUnmounted(slave);
    },
  );

  await sentence(
    '`pool_patch.clean_on_host` will be deprecated. It will still try to clean a patch *from the local filesystem* but this is pointless for the new VDI patch uploads.',
    async () => {
      // On the slave there is none, and the master keeps its own.
      await master.call('pool_patch.clean_on_host', oldRef, hostOf('slave'));
      await master.call('pool_patch.clean_on_host', ref, hostOf('master'));
      expect(existsSync(oldFile)).toBe(true);
      expect(await digestOfDownload(master, first.uuid)).toBe(first.sha256);
    },
  );
  await sentence(
    '`pool_patch.clean` will be deprecated. It will still try to clean a patch from the *local filesystem* of the master but this is pointless for the new VDI patch uploads.',
    async () => {
      await master.call('pool_patch.clean', oldRef);
      await master.call('pool_patch.clean', ref);
      expect(existsSync(oldFile)).toBe(false);
      expect(await digestOfDownload(master, first.uuid)).toBe(first.sha256);
    },
  );
  await sentence(
    '`pool_patch.pool_clean` will be deprecated. It will destroy any associated patch VDI. Users will be encouraged to call `VDI.destroy` instead.',
    async () => {
      const cleaned = await upload(master, await samplePatch('cleaned'));
      const vdi = await vdiOf(cleaned);
      await master.call('pool_patch.pool_clean', cleaned);
      expect(await failure(master.call('VDI.get_record', vdi))).toContain('HANDLE_INVALID');
      const advice = () =>
        master.log.filter(({ msg, method }) => msg === 'deprecated' && method === 'pool_patch.pool_clean');
      await expect.poll(() => advice().length).toBe(1);
      expect(advice()[0]?.['advice']).toContain('VDI.destroy');
    },
  );

  await sentence(
    '`pool_patch` records will only be deleted if both the `filename` field refers to a missing file on the master *and* the `VDI` field is a dangling reference',
    async () => {
      expect(await master.stop()).toBe(0);
      await master.start(true);
      await master.logIn();
      const records = Object.values(await recordsOf(master, 'pool_patch')).map(({ uuid }) => uuid);
      // The cleaned one is gone; the old one, cleaned too, stays, because a host says that it has applied it.
      expect(new Set(records)).toEqual(new Set([first.uuid, old.uuid]));
      expect(await waitForPbd(master, SLAVE_SR, true)).toBe(true);
    },
  );
  await sentence(
    'Patches stored in VDIs will be stored within a filesystem […] Within the VDI we will call patches `patch`',
    async () => {
      const disk = join(master.work.folder, 'exported.raw');
      const got = await master.curl('-f', '-o', disk, `/export_raw_vdi?vdi=${await vdiOf(ref)}&format=raw`);
      expect(got.exitCode).toBe(0);
      expect(await runTool('e2fsck', ['-f', '-n', disk])).toMatchObject({ exitCode: 0 });
      const out = join(master.work.folder, 'patch');
      await runTool('debugfs', ['-R', `dump patch ${out}`, disk]);
      expect(sha256(readFileSync(out))).toBe(first.sha256);
    },
  );

  await sentence(
    'When a host wishes to apply a patch it will call `VDI.copy` to duplicate the VDI to a locally-accessible SR, mount the filesystem and execute it.',
    async () => {
      const [began, go] = ['began', 'go'].map((name) => join(master.work.folder, name)) as [string, string];
      const wait = `touch ${began}; while [ ! -e ${go} ]; do sleep 0.05; done`;
      const apply = `${wait}; echo in $(stat -f -c %T .) as $(id -u); touch unpacked; df -P . | tail -1 | cut -c1-9`;
      const uuid = '5a9f0c0e-55f5-4c9f-a5c4-7d0d0e5f1b99';
      const patch = await upload(master, await scriptPatch({ uuid, apply }));
      const applying = master.call('pool_patch.apply', patch, hostOf('slave'));
      await expect.poll(() => existsSync(began)).toBe(true);
      expect(disksIn(slave, 'sr-slave')).toHaveLength(1);
      // "(b) we can use spare space in the VDI as temporary scratch space during the patch application process"
      writeFileSync(go, '');
      expect(await applying).toContain('in ext2/ext3 as 0');
      expect(disksIn(slave, 'sr-slave')).toEqual([]);
      await expectUnmounted(slave);
      // "one per host concurrently installing them": the other host has a copy of its own.
      await master.call('pool_patch.pool_apply', patch);
      const record = (await master.call('pool_patch.get_record', patch)) as Readonly<Record<string, unknown>>;
      expect(record).toMatchObject({ pool_applied: true });
      expect(record['host_patches']).toHaveLength(2);
      for (const host of [master, slave]) {
        expect(readdirSync(join(host.state, 'applied'))).toContain(uuid);
        await expectUnmounted(host, slave);
      }
    },
  );

  await sentence(
    'There will nolonger be a size limit on hotfixes imposed by the mechanism itself.',
    async () => {
      const huge = [
        '-X',
        'PUT',
        '-H',
        'Content-Length: 10995116277760',
        '-H',
        'Expect: 100-continue',
        '-d',
        '',
      ];
      const answer = await master.curl(...huge, '/pool_patch_upload');
      // 10 TiB: what is missing is space, and nothing else.
      expect(JSON.parse(answer.stdout)).toMatchObject({ error: { code: 'OUT_OF_SPACE' } });
    },
  );
  await sentence(
    'There must be enough free space in an SR connected to the host to be able to apply a patch on that host.',
    async () => {
      const uuid = '5a9f0c0e-55f5-4c9f-a5c4-7d0d0e5f1b98';
      const patch = await upload(
        master,
        await scriptPatch({ uuid, apply: `touch ${master.work.folder}/too-large` }),
      );
      // A disk of the slave's that takes all of its quota.
      const slaveSr = await refOf(master, 'SR', SLAVE_SR);
      expect(Number(await master.call('SR.get_physical_size', slaveSr))).toBe(QUOTA_BYTES);
      writeFileSync(join(slave.work.folder, 'sr-slave', '.filler'), Buffer.alloc(QUOTA_BYTES - 4 * MIB, 1));
      expect(await failure(master.call('pool_patch.apply', patch, hostOf('slave')))).toContain(
        'OUT_OF_SPACE',
      );
      expect(existsSync(join(master.work.folder, 'too-large'))).toBe(false);
      expect(disksIn(slave, 'sr-slave')).toEqual([]);
      // The other host has room.
      await master.call('pool_patch.apply', patch, hostOf('master'));
      expect(existsSync(join(master.work.folder, 'too-large'))).toBe(true);
    },
  );
}, 240_000);
