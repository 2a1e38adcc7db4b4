import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import type {
  AppliedPatch,
  HostApply,
  HostApplyRequest,
  HostPrecheck,
  HostSide,
} from '../../src/pool/host-side.js';
import { parseInfoDocument } from '../../src/pool/info-document.js';
import type { Pool } from '../../src/pool/open-pool.js';
import { PoolError } from '../../src/pool/pool-error.js';
import { requireHost } from '../host/host-bench.js';
import { expectNothingLeft, scriptPatch } from './apply-bench.js';
import { refused, samplePatch, srRef, testPool, upload } from './test-pool.js';

beforeEach((context) => requireHost(context));

/** Another host of the pool, which does nothing but look at what it is given. */
class OtherHost implements HostSide {
  readonly requests: HostApplyRequest[] = [];
  readonly host: string;
  answer: () => Promise<HostApply>;

  constructor(host: string, uuid: string) {
    this.host = host;
    this.answer = async () =>
      await Promise.resolve({
        kind: 'applied',
        info: parseInfoDocument(`<info uuid="${uuid}"/>`),
        output: '',
      });
  }

  async requireAble(): Promise<void> {
    return await Promise.resolve();
  }

  async precheck(): Promise<HostPrecheck> {
    return await Promise.resolve({ kind: 'precheckPassed', output: 'from afar' });
  }

  async apply(request: HostApplyRequest): Promise<HostApply> {
    // Plain values: nothing is lost on the way to another machine.
    expect(JSON.parse(JSON.stringify(request))).toEqual(request);
    this.requests.push(request);
    return await this.answer();
  }

  async appliedPatches(): Promise<readonly AppliedPatch[]> {
    return await Promise.resolve([]);
  }

  async sweep(): Promise<{ unfinished: [] }> {
    return await Promise.resolve({ unfinished: [] });
  }
}

/** A second host with a PBD for the second SR. */
async function secondHost(pool: Pool): Promise<string> {
  return await pool.database.change((draft) => {
    const host = draft.create('host', { uuid: randomUUID(), name_label: 'two' });
    draft.create('PBD', { uuid: randomUUID(), host, SR: srRef(pool, 'two'), currently_attached: true });
    return host;
  });
}

test('all hosts that lack it, at the same time, each with a copy of its own where it can reach it', async () => {
  const { pool, place } = await testPool();
  const two = await secondHost(pool);
  const apply = `while [ ! -e ${place.folder}/go ]; do sleep 0.05; done`;
  const sample = await scriptPatch({ apply });
  const patch = await upload(pool, sample);
  const other = new OtherHost(two, sample.uuid);
  pool.hosts.add(other);
  let seen: readonly string[] = [];
  const { answer } = other;
  other.answer = async () => {
    // Both copies are there at once.
    await expect.poll(() => pool.database.getAll('VDI').length).toBe(3);
    const { VDI } = pool.database.get('pool_patch', patch);
    seen = pool.database.all('VDI').flatMap(([ref, { uuid }]) => (ref === VDI ? [] : [uuid]));
    const { writeFileSync } = await import('node:fs');
    writeFileSync(`${place.folder}/go`, '');
    return await answer();
  };
  const task = await pool.tasks.create('pool_apply');
  await pool.applies.poolApply(patch, { task });
  expect(new Set(seen).size).toBe(2);
  const [request] = other.requests;
  expect(request).toMatchObject({
    patch: { uuid: sample.uuid, sizeBytes: sample.bytes.length, sha256: sample.sha256 },
    again: false,
    source: { kind: 'vdi', repositoryUuid: pool.database.get('SR', srRef(pool, 'two')).uuid },
  });
  expect(seen).toContain(request?.source.kind === 'vdi' ? request.source.vdiUuid : '');
  expect(pool.database.get('pool_patch', patch)).toMatchObject({ pool_applied: true });
  expect(pool.database.getAll('host_patch')).toHaveLength(2);
  await expectNothingLeft(pool, place);
  // Nobody lacks it any more: nothing is done, and that is no error.
  await pool.applies.poolApply(patch);
  expect(other.requests).toHaveLength(1);
});

test("one that fails does not keep the others from it; its error is the call's", async () => {
  const { pool, place } = await testPool();
  const two = await secondHost(pool);
  const sample = await samplePatch('one fails');
  const patch = await upload(pool, sample);
  const other = new OtherHost(two, sample.uuid);
  pool.hosts.add(other);
  other.answer = async () =>
    await Promise.resolve({ kind: 'applyFailed', ending: { kind: 'timeout' }, output: 'from afar' });
  const { description } = await refused(pool.applies.poolApply(patch));
  expect(description).toEqual(['PATCH_APPLY_FAILED', 'from afar\nit did not end in time']);
  const { host_patches, pool_applied } = pool.database.get('pool_patch', patch);
  expect([host_patches.length, pool_applied]).toEqual([1, false]);
  // A second try asks only who lacks it. Its applied folder says that it has it: so be it.
  const info = parseInfoDocument(`<info uuid="${sample.uuid}"/>`);
  other.answer = async () => await Promise.resolve({ kind: 'alreadyApplied', info });
  await pool.applies.poolApply(patch);
  expect(pool.database.get('pool_patch', patch).pool_applied).toBe(true);
  await expectNothingLeft(pool, place);
});

test('a host that cannot be asked: HOST_OFFLINE; one that breaks off: its error, and no copy is left', async () => {
  const { pool, place } = await testPool();
  const two = await secondHost(pool);
  const sample = await samplePatch('offline');
  const patch = await upload(pool, sample);
  expect((await refused(pool.applies.apply(patch, two))).description).toEqual(['HOST_OFFLINE', two]);
  const other = new OtherHost(two, sample.uuid);
  pool.hosts.add(other);
  expect(await pool.applies.precheck(patch, two)).toBe('from afar');
  other.answer = async () => await Promise.reject(new PoolError('HOST_OFFLINE', [two]));
  expect((await refused(pool.applies.apply(patch, two))).description).toEqual(['HOST_OFFLINE', two]);
  await expectNothingLeft(pool, place);
  pool.hosts.remove(two);
  expect((await refused(pool.applies.poolApply(patch))).code).toBe('HOST_OFFLINE');
  expect(pool.database.get('pool_patch', patch).host_patches).toHaveLength(1);
  expect(existsSync(place.state)).toBe(true);
});
