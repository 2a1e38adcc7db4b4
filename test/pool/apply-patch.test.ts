/* One way for an apply to end a test, over the same pool: long, as the list of endings is. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { PRECHECKS } from '../../src/kit/documents.js';
import { GIB, MIB } from '../../src/units.js';
import { requireHost } from '../host/host-bench.js';
import { appliedFiles, expectNothingLeft, scriptPatch, waitFor } from './apply-bench.js';
import { filesOf, refused, samplePatch, srRef, testPool, upload } from './test-pool.js';

beforeEach((context) => requireHost(context));

describe('apply', () => {
  test('output, record, applied folder, pool_applied; nothing is left', async () => {
    const { pool, place } = await testPool();
    const sample = await samplePatch('applied', 64 * 1024, { guidance: ['restartHost', 'restartXAPI'] });
    const patch = await upload(pool, sample);
    const before = filesOf(place);
    expect(await pool.applies.apply(patch, pool.host)).toContain(`applied ${sample.uuid}`);
    expect(filesOf(place)).toEqual(before);
    await expectNothingLeft(pool, place);
    const record = pool.database.get('pool_patch', patch);
    expect(record).toMatchObject({
      pool_applied: true,
      host_patches: [expect.any(String)],
      after_apply_guidance: ['restartHost', 'restartXAPI'],
    });
    const [hostPatch = ''] = record.host_patches;
    expect(pool.database.get('host_patch', hostPatch)).toMatchObject({
      applied: true,
      host: pool.host,
      pool_patch: patch,
      timestamp_applied: '20270115T08:00:00Z',
      name_label: record.name_label,
      version: '1.0',
      size: sample.bytes.length,
    });
    expect(pool.database.get('host', pool.host).patches).toEqual([hostPatch]);
    expect(appliedFiles(place)).toEqual([sample.uuid]);
    const kept = readFileSync(join(place.state, 'applied', sample.uuid), 'utf8');
    expect(kept).toContain(`uuid="${sample.uuid}"`);
    expect((await refused(pool.applies.apply(patch, pool.host))).description).toEqual([
      'PATCH_ALREADY_APPLIED',
      patch,
    ]);
    expect((await refused(pool.patches.destroy(patch))).code).toBe('PATCH_IS_APPLIED');
  });

  test('the copy is in an SR of the host while the patch runs, and belongs to nobody else', async () => {
    const { pool, place } = await testPool({ capabilities: [] });
    const sample = await scriptPatch({ apply: `while [ ! -e ${place.folder}/go ]; do sleep 0.05; done` });
    const patch = await upload(pool, sample, { sr: srRef(pool, 'two') });
    const applying = pool.applies.apply(patch, pool.host);
    await waitFor('a copy', () => pool.database.getAll('VDI').length === 2);
    const [copy, record] = pool.database.all('VDI').find(([, { state }]) => state === 'creating') ?? [
      '',
      undefined,
    ];
    // The SR of the patch can clone.
    expect(record).toMatchObject({
      SR: srRef(pool, 'two'),
      type: 'ephemeral',
      other_config: { 'patch-copy-for-host': pool.database.get('host', pool.host).uuid },
    });
    expect(record?.name_label).toContain(sample.uuid);
    const inProgress = ['OTHER_OPERATION_IN_PROGRESS', 'VDI', copy];
    expect((await refused(pool.vdis.destroy(copy))).description).toEqual(inProgress);
    expect((await refused(pool.vdis.copy(copy, srRef(pool, 'one')))).description).toEqual(inProgress);
    expect((await refused(pool.vdis.export(copy, 'raw'))).description).toEqual(inProgress);
    writeFileSync(join(place.folder, 'go'), '');
    await applying;
    await expectNothingLeft(pool, place);
  });

  test('one that fails: PATCH_APPLY_FAILED with its output, no record, nothing left; it may be tried again', async () => {
    const { pool, place } = await testPool();
    const patch = await upload(pool, await samplePatch('fails', 64 * 1024, { apply: { kind: 'fail' } }));
    const error = await refused(pool.applies.apply(patch, pool.host));
    expect(error.code).toBe('PATCH_APPLY_FAILED');
    expect(error.parameters).toEqual([expect.stringMatching(/it was told to fail[^]*exit code 1$/)]);
    expect(pool.database.get('pool_patch', patch)).toMatchObject({ pool_applied: false, host_patches: [] });
    expect(appliedFiles(place)).toEqual([]);
    await expectNothingLeft(pool, place);
    expect((await refused(pool.applies.apply(patch, pool.host))).code).toBe('PATCH_APPLY_FAILED');
  });

  test('what it prints comes back, bounded, also when it is 8 MiB of binary', async () => {
    const { pool, place } = await testPool();
    const apply = 'echo first; head -c 8388608 /dev/urandom; echo; echo last';
    const patch = await upload(pool, await scriptPatch({ apply }));
    const output = await pool.applies.apply(patch, pool.host);
    expect(output.startsWith('first\n')).toBe(true);
    expect(output.trimEnd().endsWith('last')).toBe(true);
    expect(output.length).toBeLessThan(11 * 1024);
    await expectNothingLeft(pool, place);
  });
});

/** By the facts on XAPI, by hand: what the kit's documents become. */
const PRECHECK_ERRORS: Readonly<Record<string, (patch: string) => readonly unknown[]>> = {
  'unknown-error': (patch) => ['UNKNOWN_ERROR', patch, 'This test patch was told to fail its precheck.'],
  'iso-mounted': (patch) => ['ISO_MOUNTED', patch],
  'prerequisite-missing': (patch) => [
    'PREREQUISITE_MISSING',
    patch,
    expect.stringMatching(/^[0-9a-f-]{36}$/),
  ],
  'wrong-server-version': (patch) => ['WRONG_SERVER_VERSION', patch, '1.0.0', '99.0.0'],
  'wrong-server-build': (patch) => ['WRONG_SERVER_BUILD', patch, '1', '99999'],
  'vm-running': (patch) => ['VM_RUNNING', patch],
  'out-of-space': (patch) => ['OUT_OF_SPACE', patch, '0', expect.stringMatching(/^\d+$/)],
};

describe('precheck', () => {
  test('that passes: its output, and nothing is changed', async () => {
    const { pool, place } = await testPool();
    const patch = await upload(pool, await scriptPatch({ precheck: 'echo looks good' }));
    expect(await pool.applies.precheck(patch, pool.host)).toBe('looks good\n');
    expect(pool.database.getAll('host_patch')).toEqual([]);
    expect(appliedFiles(place)).toEqual([]);
    await expectNothingLeft(pool, place);
  });

  test.for(PRECHECKS.filter((name) => name !== 'ok'))(
    '%s, asked for and before an apply',
    async (precheck) => {
      const { pool, place } = await testPool();
      const patch = await upload(pool, await samplePatch(precheck, 64 * 1024, { precheck }));
      const [code, ...parameters] = PRECHECK_ERRORS[precheck]?.(patch) ?? [];
      for (const call of ['precheck', 'apply'] as const) {
        const error = await refused(pool.applies[call](patch, pool.host));
        expect(error.description).toEqual([`PATCH_PRECHECK_FAILED_${String(code)}`, ...parameters]);
      }
      expect(pool.database.getAll('host_patch')).toEqual([]);
      await expectNothingLeft(pool, place);
    },
  );

  test('several prerequisites are joined', async () => {
    const { pool } = await testPool();
    const document = `<error errorcode="PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING"><prerequisite uuid="a"/><prerequisite uuid="b"/></error>`;
    const patch = await upload(pool, await scriptPatch({ precheck: `echo '${document}'; exit 1` }));
    const { description } = await refused(pool.applies.precheck(patch, pool.host));
    expect(description).toEqual(['PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING', patch, 'a;b']);
  });

  test('any other end is an unknown error', async () => {
    const { pool } = await testPool();
    const patch = await upload(pool, await scriptPatch({ precheck: 'echo odd; exit 7' }));
    const { code, parameters } = await refused(pool.applies.precheck(patch, pool.host));
    expect(code).toBe('PATCH_PRECHECK_FAILED_UNKNOWN_ERROR');
    expect(parameters).toEqual([patch, expect.stringMatching(/exit code 7\nodd/)]);
  });
});

describe('before anything', () => {
  test('"There must be enough free space in an SR connected to the host": OUT_OF_SPACE', async () => {
    // Room for the VDI of the patch, and not for its copy.
    const { pool, place } = await testPool({ quotaBytes: 20 * MIB });
    const patch = await upload(pool, await samplePatch('tight', 4 * MIB));
    await upload(pool, await samplePatch('tight too', 4 * MIB), { sr: srRef(pool, 'two') });
    const vdis = pool.database.getAll('VDI');
    const generation = pool.database.generation;
    expect((await refused(pool.applies.apply(patch, pool.host))).code).toBe('OUT_OF_SPACE');
    // Not even a record was made.
    expect(pool.database.generation).toBe(generation);
    expect(pool.database.getAll('VDI')).toEqual(vdis);
    await expectNothingLeft(pool, place);
  });

  test('no SR within its reach: HOST_HAS_NO_PATCH_SR', async () => {
    const { pool } = await testPool();
    const patch = await upload(pool, await samplePatch('unplugged'));
    await pool.database.change((draft) => {
      for (const [pbd] of draft.all('PBD')) draft.update('PBD', pbd, { currently_attached: false });
    });
    expect((await refused(pool.applies.apply(patch, pool.host))).description).toEqual([
      'HOST_HAS_NO_PATCH_SR',
      pool.host,
    ]);
  });

  test('without root: a clear error; nothing was copied, everything else works', async () => {
    const { pool, place } = await testPool({ isRoot: false });
    const patch = await upload(pool, await samplePatch('no root'));
    const generation = pool.database.generation;
    for (const call of ['precheck', 'apply'] as const) {
      const { code, parameters } = await refused(pool.applies[call](patch, pool.host));
      expect([code, parameters[0]]).toEqual([
        'OPERATION_NOT_ALLOWED',
        expect.stringMatching(/does not run as root/),
      ]);
    }
    expect(pool.database.generation).toBe(generation);
    await pool.patches.destroy(patch);
    await expectNothingLeft(pool, place);
  });

  test('a patch or host that is none, and a patch without bytes', async () => {
    const { pool } = await testPool();
    const patch = await upload(pool, await samplePatch('cleaned'));
    const none = 'OpaqueRef:none';
    const { applies, host } = pool;
    expect((await refused(applies.apply(none, host))).description).toEqual([
      'HANDLE_INVALID',
      'pool_patch',
      none,
    ]);
    expect((await refused(applies.apply(patch, none))).description).toEqual(['HANDLE_INVALID', 'host', none]);
    await pool.patches.poolClean(patch);
    expect((await refused(applies.apply(patch, host))).description).toEqual(['CANNOT_FIND_PATCH']);
  });
});

describe('at the same time', () => {
  test('the same patch on the same host is refused, and so is its destruction; then another patch', async () => {
    const { pool, place } = await testPool();
    const sample = await scriptPatch({ apply: `while [ ! -e ${place.folder}/go ]; do sleep 0.05; done` });
    const patch = await upload(pool, sample);
    const other = await upload(pool, await samplePatch('other'));
    const applying = pool.applies.apply(patch, pool.host);
    const busy = ['OTHER_OPERATION_IN_PROGRESS', 'pool_patch', patch];
    expect((await refused(pool.applies.apply(patch, pool.host))).description).toEqual(busy);
    expect((await refused(pool.applies.precheck(patch, pool.host))).description).toEqual(busy);
    expect((await refused(pool.patches.destroy(patch))).description).toEqual(busy);
    expect((await refused(pool.applies.apply(other, pool.host))).description).toEqual([
      'OTHER_OPERATION_IN_PROGRESS',
      'host',
      pool.host,
    ]);
    // A question changes nothing.
    await pool.applies.precheck(other, pool.host);
    writeFileSync(join(place.folder, 'go'), '');
    await applying;
    await pool.applies.apply(other, pool.host);
    expect(pool.database.getAll('host_patch')).toHaveLength(2);
    await expectNothingLeft(pool, place);
  });

  test('its VDI may go while it is being applied: the copy is what counts', async () => {
    const { pool, place } = await testPool();
    const apply = `touch ${place.folder}/began; while [ ! -e ${place.folder}/go ]; do sleep 0.05; done`;
    const patch = await upload(pool, await scriptPatch({ apply }));
    const applying = pool.applies.apply(patch, pool.host);
    await waitFor('apply', () => readdirSync(place.folder).includes('began'));
    await pool.vdis.destroy(pool.database.get('pool_patch', patch).VDI);
    writeFileSync(join(place.folder, 'go'), '');
    await applying;
    expect(pool.database.get('pool_patch', patch).pool_applied).toBe(true);
    await expectNothingLeft(pool, place);
  });
});

describe('cancelled', () => {
  test('while the disk is copied: TASK_CANCELLED, nothing was run', async () => {
    const { pool, place } = await testPool({ capabilities: [] });
    const patch = await upload(pool, await samplePatch('long copy', 48 * MIB));
    const task = await pool.tasks.create('apply');
    const applying = refused(pool.applies.apply(patch, pool.host, { task }));
    await waitFor('progress', () => pool.database.get('task', task).progress > 0);
    expect(pool.database.get('task', task).progress).toBeLessThan(0.5);
    await pool.tasks.cancel(task);
    expect((await applying).description).toEqual(['TASK_CANCELLED', task]);
    expect(pool.database.get('task', task).status).toBe('cancelled');
    expect(appliedFiles(place)).toEqual([]);
    await expectNothingLeft(pool, place);
  });

  test('while its precheck runs: TASK_CANCELLED', async () => {
    const { pool, place } = await testPool();
    const precheck = `touch ${place.folder}/began; sleep 600`;
    const patch = await upload(pool, await scriptPatch({ precheck, apply: `touch ${place.folder}/applied` }));
    const task = await pool.tasks.create('apply');
    const applying = refused(pool.applies.apply(patch, pool.host, { task }));
    await waitFor('precheck', () => readdirSync(place.folder).includes('began'));
    await pool.tasks.cancel(task);
    expect((await applying).description).toEqual(['TASK_CANCELLED', task]);
    expect(readdirSync(place.folder)).not.toContain('applied');
    expect(appliedFiles(place)).toEqual([]);
    await expectNothingLeft(pool, place);
  });

  test('while it is being applied: it goes on to its end, whoever has gone', async () => {
    const { pool, place } = await testPool();
    const apply = `touch ${place.folder}/began; while [ ! -e ${place.folder}/go ]; do sleep 0.05; done; echo done`;
    const patch = await upload(pool, await scriptPatch({ apply }));
    const task = await pool.tasks.create('apply');
    const client = new AbortController();
    const applying = pool.applies.apply(patch, pool.host, { task, signal: client.signal });
    await waitFor('apply', () => readdirSync(place.folder).includes('began'));
    await pool.tasks.cancel(task);
    client.abort();
    await sleep(200);
    expect(pool.database.get('task', task).status).toBe('cancelling');
    writeFileSync(join(place.folder, 'go'), '');
    expect(await applying).toBe('done\n');
    expect(pool.database.get('pool_patch', patch).pool_applied).toBe(true);
    await expectNothingLeft(pool, place);
  });

  test('before it began', async () => {
    const { pool, place } = await testPool();
    const patch = await upload(pool, await samplePatch('early'));
    const error = await refused(pool.applies.apply(patch, pool.host, { signal: AbortSignal.abort() }));
    expect(error.code).toBe('TASK_CANCELLED');
    await expectNothingLeft(pool, place);
  });
});

describe('a disk whose content was replaced', () => {
  test.for([
    ['by another patch with the same UUID', undefined],
    ['by another patch', '6b9f0c0e-55f5-4c9f-a5c4-7d0d0e5f1b22'],
  ] as const)('%s, signed by the right key: INVALID_PATCH, nothing is run', async ([, uuid]) => {
    const { pool, place } = await testPool();
    const sample = await scriptPatch({});
    const evil = await scriptPatch({
      apply: `touch ${place.folder}/ran`,
      ...(uuid === undefined ? {} : { uuid }),
    });
    const { pool: forger } = await testPool();
    const forged = forger.database.get('pool_patch', await upload(forger, evil)).VDI;
    const exported = await forger.vdis.export(forged, 'raw');
    const patch = await upload(pool, sample);
    const { VDI } = pool.database.get('pool_patch', patch);
    // Behind the pool's back: the pool itself protects the disk of a patch.
    const { uuid: disk } = pool.database.get('VDI', VDI);
    await writeFile(join(place.sr('one'), `${disk}.raw`), exported.stream());
    await exported.close();
    expect((await refused(pool.applies.apply(patch, pool.host))).code).toBe('INVALID_PATCH');
    // Also where nobody knows the digest.
    await pool.database.change((draft) => draft.update('pool_patch', patch, { sha256: '' }));
    if (uuid !== undefined)
      expect((await refused(pool.applies.apply(patch, pool.host))).code).toBe('INVALID_PATCH');
    expect(readdirSync(place.folder)).not.toContain('ran');
    await expectNothingLeft(pool, place);
  });
});

test('a large disk costs what is in it', async () => {
  const { pool, place } = await testPool();
  const sample = await samplePatch('sparse');
  const patch = await pool.patches.upload({
    source: (async function* () {
      yield await Promise.resolve(new Uint8Array(sample.bytes));
    })(),
    contentLength: undefined,
  });
  expect(pool.database.get('VDI', pool.database.get('pool_patch', patch).VDI).virtual_size).toBe(4 * GIB);
  await pool.applies.apply(patch, pool.host);
  await expectNothingLeft(pool, place);
});
