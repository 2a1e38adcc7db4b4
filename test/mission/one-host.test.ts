/*
 * The mission's document on uploads, records, cleaning and deletion, played against a server that was started for
 * real: curl uploads, the npm package xen-api follows the pool, Python's XML-RPC client calls, debugfs and e2fsck look
 * into the disks. Each test has the sentence that it is about.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { GIB, MIB } from '../../src/units.js';
import { openPool } from '../../src/pool/open-pool.js';
import { requireTool } from '../oracles/require-tool.js';
import { oldPatch, samplePatch, sha256, type SamplePatch } from '../pool/test-pool.js';
import { runTool } from '../server/run-tool.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => requireTool(context, 'curl', 'python3', 'debugfs', 'e2fsck'));

const NULL_REF = 'OpaqueRef:NULL';

async function upload(served: ServedPool, patch: SamplePatch, query = ''): Promise<string> {
  const file = served.work.input('hotfix.xsupdate', patch.bytes);
  const put = await served.curl('-f', '-T', file, `/pool_patch_upload${query}`);
  expect(put).toMatchObject({ exitCode: 0, stderr: '' });
  return put.stdout.trim();
}

async function download(served: ServedPool, uuid: string): Promise<Buffer> {
  const file = join(served.work.folder, 'downloaded');
  const got = await served.curl('-f', '-o', file, `/pool_patch_download?uuid=${uuid}`);
  expect(got).toMatchObject({ exitCode: 0, stderr: '' });
  return readFileSync(file);
}

/** A server with a patch of the time before VDIs: a file on the master, and its record. */
async function withOldPatch(patch: SamplePatch): Promise<{ served: ServedPool; ref: string; path: string }> {
  const served = await ServedPool.start();
  expect(await served.stop()).toBe(0);
  const pool = await openPool({
    stateFolder: served.state,
    repositories: [],
    policy: { keyrings: [served.place.keyring] },
    environment: { searchPath: [] },
    hostName: 'old',
    address: '127.0.0.1',
    now: Date.now,
    newUuid: () => crypto.randomUUID(),
  });
  const old = await oldPatch(pool, patch);
  await pool.close();
  await served.start();
  return { served, ...old };
}

const record = (ref: string): string => `record = call("pool_patch.get_record", ${JSON.stringify(ref)})`;

describe('XenAPI changes', () => {
  test('"Add a field `pool_patch.VDI` of type `Ref(VDI)`. When a new patch is stored in a VDI, it will be referenced here."', async () => {
    const served = await ServedPool.start();
    const xapi = await served.xenApi();
    const patch = await samplePatch('VDI', 5 * MIB);
    const ref = await upload(served, patch);
    await xapi.barrier();
    const followed = xapi.getObjectByRef(ref);
    expect(followed).toMatchObject({ $type: 'pool_patch', uuid: patch.uuid, size: patch.bytes.length });
    const vdi = xapi.getObjectByRef(String(followed?.['VDI']));
    expect(vdi).toMatchObject({
      $type: 'VDI',
      name_label: `Patch ${patch.uuid} (${String(followed?.['name_label'])})`,
    });
    // `filename` is internal.
    expect(Object.keys(followed ?? {})).not.toContain('filename');
  });

  test("… also with the upload of Xen Orchestra's client, which looks for a redirection first", async () => {
    const served = await ServedPool.start();
    const xapi = await served.xenApi();
    const patch = await samplePatch('putResource', 5 * MIB);
    const stream = Object.assign(Readable.from([patch.bytes]), { length: patch.bytes.length });
    const ref = await xapi.putResource(stream, '/pool_patch_upload', { task: true });
    expect(await xapi.barrier(String(ref))).toMatchObject({ $type: 'pool_patch', uuid: patch.uuid });
    expect(sha256(await download(served, patch.uuid))).toBe(patch.sha256);
    // A disk goes in the same way, and what only looks does not touch it.
    const [sr = ''] = (await xapi.call('SR.get_all')) as string[];
    const vdi = String(await xapi.call('VDI.create', { SR: sr, virtual_size: 4 * MIB, name_label: 'disk' }));
    const disk = Buffer.alloc(4 * MIB, 'disk ');
    const body = Object.assign(Readable.from([disk]), { length: disk.length });
    await xapi.putResource(body, '/import_raw_vdi', { query: { vdi, format: 'raw' }, task: true });
    const session = encodeURIComponent(xapi.sessionId);
    const probe = await served.curl(
      '-f',
      '-X',
      'PUT',
      '-H',
      'Content-Length: 0',
      `/import_raw_vdi?vdi=${vdi}&session_id=${session}`,
    );
    expect(probe).toMatchObject({ exitCode: 0, stdout: 'nothing was imported: there was no body\n' });
    const file = join(served.work.folder, 'exported');
    expect(await served.curl('-f', '-o', file, `/export_raw_vdi?vdi=${vdi}`)).toMatchObject({ exitCode: 0 });
    expect(sha256(readFileSync(file))).toBe(sha256(disk));
    // Whoever uploads nothing by name and password is told.
    const empty = served.work.input('empty', '');
    const put = await served.curl('-T', empty, '/pool_patch_upload');
    expect(JSON.parse(put.stdout)).toMatchObject({ error: { code: 'INVALID_PATCH_WITH_LOG' } });
  });

  test('"Older patches and cleaned patches will have invalid references here."', async () => {
    const old = await samplePatch('old');
    const { served, ref } = await withOldPatch(old);
    expect(await served.python(record(ref), 'print(record["VDI"])')).toBe(NULL_REF);
    const patch = await samplePatch('cleaned');
    const cleaned = await upload(served, patch);
    const said = await served.python(
      record(cleaned),
      'vdi = record["VDI"]',
      `call("pool_patch.pool_clean", ${JSON.stringify(cleaned)})`,
      record(cleaned),
      'print(record["uuid"])',
      'try: call("VDI.get_record", record["VDI"])',
      'except Failure as failure: print(failure.args[0])',
      'print(vdi in call("VDI.get_all"))',
    );
    expect(said.split('\n')).toEqual([patch.uuid, 'HANDLE_INVALID', 'False']);
  });

  const TWO_SRS = (first: string): readonly string[] => [
    `- {name_label: plain, path: sr-plain, capabilities: [VDI_CREATE, VDI_DELETE]${first === 'plain' ? ', default: true' : ''}}`,
    `- {name_label: cloning, path: sr-cloning, capabilities: [VDI_CREATE, VDI_DELETE, VDI_CLONE]${first === 'cloning' ? ', default: true' : ''}}`,
  ];

  const srOfPatch = (ref: string): readonly string[] => [
    record(ref),
    'print(call("SR.get_name_label", call("VDI.get_SR", record["VDI"])))',
  ];

  test.for(['plain', 'cloning'])('"It will prefer to use the `pool.default_SR`": %s', async (name) => {
    const served = await ServedPool.start({ repositories: TWO_SRS(name) });
    const ref = await upload(served, await samplePatch('default'));
    expect(await served.python(...srOfPatch(ref))).toBe(name);
  });

  test('"… and fall back to choosing an SR on the master whose driver supports the `VDI_CLONE` capability"', async () => {
    const served = await ServedPool.start({ repositories: TWO_SRS('none') });
    const ref = await upload(served, await samplePatch('fallback'));
    expect(await served.python(...srOfPatch(ref))).toBe('cloning');
    // The driver says so itself.
    const said = await served.python(
      record(ref),
      'sr = call("SR.get_record", call("VDI.get_SR", record["VDI"]))',
      'drivers = call("SM.get_all_records").values()',
      'print([sm["type"] for sm in drivers if "VDI_CLONE" in sm["capabilities"]] == [sr["type"]])',
    );
    expect(said).toBe('True');
  });

  test('no such SR: HOST_HAS_NO_PATCH_SR, and not a byte is read', async () => {
    const served = await ServedPool.start({ repositories: TWO_SRS('none').slice(0, 1) });
    const file = served.work.input('hotfix', (await samplePatch('nowhere', 4 * MIB)).bytes);
    const put = await served.curl('-T', file, '/pool_patch_upload');
    expect(JSON.parse(put.stdout)).toMatchObject({ error: { code: 'HOST_HAS_NO_PATCH_SR' } });
    await expect.poll(() => served.log.at(-1)).toMatchObject({ path: '/pool_patch_upload', bytesIn: 0 });
  });

  test('"A VDI will be created whose size is 4x the apparent size of the patch"', async () => {
    const served = await ServedPool.start();
    const patch = await samplePatch('four times', 6 * MIB);
    expect(patch.bytes.length).toBe(6 * MIB);
    const ref = await upload(served, patch);
    const size = await served.python(record(ref), 'print(call("VDI.get_virtual_size", record["VDI"]))');
    expect(Number(size)).toBe(24 * MIB);
  });

  test('"… defaulting to 4GiB if we have no size information (i.e. no `content-length` header)"', async () => {
    const served = await ServedPool.start();
    const patch = await samplePatch('no length');
    const file = served.work.input('hotfix', patch.bytes);
    const put = await served.curl('-f', '-H', 'Transfer-Encoding: chunked', '-T', file, '/pool_patch_upload');
    expect(put.exitCode).toBe(0);
    const ref = put.stdout.trim();
    const size = await served.python(record(ref), 'print(call("VDI.get_virtual_size", record["VDI"]))');
    expect(Number(size)).toBe(4 * GIB);
    expect(sha256(await download(served, patch.uuid))).toBe(patch.sha256);
  });

  test.for([
    [
      'clean_on_host',
      '"`pool_patch.clean_on_host` will be deprecated. It will still try to clean a patch *from the local filesystem* but this is pointless for the new VDI patch uploads."',
    ],
    [
      'clean',
      '"`pool_patch.clean` will be deprecated. It will still try to clean a patch from the *local filesystem* of the master but this is pointless for the new VDI patch uploads."',
    ],
  ] as const)('%s: %s', async ([name]) => {
    const old = await samplePatch('old');
    const { served, ref, path } = await withOldPatch(old);
    const fresh = await samplePatch('new');
    const inVdi = await upload(served, fresh);
    expect(sha256(await download(served, old.uuid))).toBe(old.sha256);
    const host = name === 'clean_on_host' ? ', call("host.get_all")[0]' : '';
    await served.python(
      `call("pool_patch.${name}", ${JSON.stringify(ref)}${host})`,
      `call("pool_patch.${name}", ${JSON.stringify(inVdi)}${host})`,
    );
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
    // Pointless for the new one.
    expect(sha256(await download(served, fresh.uuid))).toBe(fresh.sha256);
    const deprecated = () => served.log.filter(({ msg }) => msg === 'deprecated');
    await expect.poll(() => deprecated().length).toBe(2);
    const advice = deprecated();
    expect(advice.map(({ method }) => method)).toEqual([`pool_patch.${name}`, `pool_patch.${name}`]);
    for (const line of advice) expect(line['advice']).toContain('VDI.destroy');
  });

  test('"`pool_patch.pool_clean` will be deprecated. It will destroy any associated patch VDI. Users will be encouraged to call `VDI.destroy` instead."', async () => {
    const served = await ServedPool.start();
    const xapi = await served.xenApi();
    const ref = await upload(served, await samplePatch('pool clean'));
    await xapi.barrier();
    const vdi = String(xapi.getObjectByRef(ref)?.['VDI']);
    await xapi.call('pool_patch.pool_clean', ref);
    await xapi.barrier();
    expect(xapi.getObjectByRef(vdi, null)).toBeNull();
    expect(served.files().filter((name) => name.endsWith('.raw'))).toEqual([]);
    const deprecated = () => served.log.filter(({ msg }) => msg === 'deprecated');
    await expect.poll(() => deprecated().length).toBe(1);
    const [line] = deprecated();
    expect(line).toMatchObject({ method: 'pool_patch.pool_clean' });
    expect(line?.['advice']).toContain('VDI.destroy');
    // And with what they are encouraged to call:
    const second = await upload(served, await samplePatch('VDI.destroy'));
    await xapi.barrier();
    await xapi.call('VDI.destroy', String(xapi.getObjectByRef(second)?.['VDI']));
    expect(served.files().filter((name) => name.endsWith('.raw'))).toEqual([]);
  });
});

describe('Changes beneath the XenAPI', () => {
  /** Which records are there, after a restart, which is when dead ones are deleted. */
  const after = async (served: ServedPool): Promise<string[]> => {
    expect(await served.stop()).toBe(0);
    await served.start();
    const said = await served.python('print(" ".join(call("pool_patch.get_all")))');
    return said.split(' ').filter((ref) => ref !== '');
  };

  test('"`pool_patch` records will only be deleted if both the `filename` field refers to a missing file on the master *and* the `VDI` field is a dangling reference": neither', async () => {
    const { served, ref } = await withOldPatch(await samplePatch('file'));
    const inVdi = await upload(served, await samplePatch('in a VDI'));
    expect((await after(served)).sort()).toEqual([ref, inVdi].sort());
  });

  test('… the file alone is missing', async () => {
    const served = await ServedPool.start();
    const ref = await upload(served, await samplePatch('no file'));
    await served.python(`call("pool_patch.clean", ${JSON.stringify(ref)})`);
    expect(await after(served)).toEqual([ref]);
  });

  test('… the VDI alone dangles', async () => {
    const { served, ref } = await withOldPatch(await samplePatch('file only'));
    expect(await after(served)).toEqual([ref]);
  });

  test('… both', async () => {
    const { served, ref } = await withOldPatch(await samplePatch('both'));
    const inVdi = await upload(served, await samplePatch('cleaned'));
    await served.python(
      `call("pool_patch.clean", ${JSON.stringify(ref)})`,
      `call("pool_patch.pool_clean", ${JSON.stringify(inVdi)})`,
      // Both records are still there, the cleaned one "with an invalid reference".
      'assert len(call("pool_patch.get_all")) == 2',
    );
    expect(await after(served)).toEqual([]);
  });

  test('"Patches stored in VDIs will be stored within a filesystem […] Within the VDI we will call patches `patch`": debugfs and e2fsck', async () => {
    const served = await ServedPool.start();
    const patch = await samplePatch('within', 5 * MIB + 3);
    const ref = await upload(served, patch);
    const vdi = await served.python(record(ref), 'print(record["VDI"])');
    const disk = join(served.work.folder, 'exported.raw');
    expect(await served.curl('-f', '-o', disk, `/export_raw_vdi?vdi=${vdi}&format=raw`)).toMatchObject({
      exitCode: 0,
    });
    expect(await runTool('e2fsck', ['-f', '-n', disk])).toMatchObject({ exitCode: 0 });
    const out = join(served.work.folder, 'patch');
    await runTool('debugfs', ['-R', `dump patch ${out}`, disk]);
    expect(sha256(readFileSync(out))).toBe(patch.sha256);
    // A disk without one: the judge can fail.
    writeFileSync(disk, Buffer.alloc(16 * MIB));
    expect((await runTool('e2fsck', ['-f', '-n', disk])).exitCode).not.toBe(0);
  });
});

describe('Summary of the impact on the admin', () => {
  test('"There will nolonger be a size limit on hotfixes imposed by the mechanism itself": 10 TiB are announced', async () => {
    const served = await ServedPool.start();
    const answer = await served.curl(
      '-X',
      'PUT',
      '-H',
      'Content-Length: 10995116277760',
      '-H',
      'Expect: 100-continue',
      '-d',
      '',
      '/pool_patch_upload',
    );
    // What is missing is space, and nothing else.
    expect(JSON.parse(answer.stdout)).toMatchObject({ error: { code: 'OUT_OF_SPACE' } });
  });

  test('"There must be enough free space in an SR": OUT_OF_SPACE before a byte is read', async () => {
    const served = await ServedPool.start({
      repositories: [
        '- {name_label: small, path: sr-small, capabilities: [VDI_CLONE], default: true, quota: 20M}',
      ],
    });
    const file = served.work.input('hotfix', (await samplePatch('too large', 6 * MIB)).bytes);
    const put = await served.curl('-T', file, '/pool_patch_upload');
    expect(JSON.parse(put.stdout)).toMatchObject({ error: { code: 'OUT_OF_SPACE' } });
    await expect.poll(() => served.log.at(-1)).toMatchObject({ status: 507, bytesIn: 0 });
  });
});
