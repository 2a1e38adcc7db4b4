import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import {
  choosePlace,
  requireSpace,
  type PlaceRequest,
  type UploadPlace,
} from '../../src/upload/choose-place.js';
import { changeSr, withDisks, type Disks } from '../oracles/xapi-replay-disks.js';
import { NULL_REF, startReplay, type Replay } from '../oracles/xapi-replay.js';
import { connected, thrownBy } from '../xenapi/pools.js';

/** The replay's pool has `Local storage` (file, the default) and `Shared storage` (nfs). */
async function scene(): Promise<{ pool: Replay; disks: Disks }> {
  const pool = await startReplay();
  return { pool, disks: withDisks(pool) };
}

async function place(pool: Replay, request: Partial<PlaceRequest> = {}): Promise<UploadPlace> {
  return await choosePlace(await connected(pool), { sr: undefined, format: 'auto', ...request });
}

function detach(pool: Replay, disks: Disks, name: string): void {
  const ref = changeSr(pool, name, {});
  for (const pbd of disks.pbds.values()) if (pbd['SR'] === ref) pbd['currently_attached'] = false;
}

function setCapabilities(disks: Disks, type: string, capabilities: readonly string[]): void {
  disks.sms.set(`OpaqueRef:sm-${type}`, { type, capabilities });
}

function setDefault(pool: Replay, ref: string): void {
  for (const record of pool.tables.pool.values()) record['default_SR'] = ref;
}

describe('the SR', () => {
  test('"pool.default_SR if it exists and the host can reach it"', async () => {
    const { pool, disks } = await scene();
    // It need not be able to clone.
    setCapabilities(disks, 'file', ['VDI_CREATE']);
    const found = await place(pool);
    expect(found).toMatchObject({ chosen: 'default', format: 'vhd', sr: { name_label: 'Local storage' } });
    setDefault(pool, changeSr(pool, 'Shared storage', {}));
    expect(await place(pool)).toMatchObject({ chosen: 'default', sr: { name_label: 'Shared storage' } });
  });

  test.for(['detached', 'null', 'dangling', 'of another host'] as const)(
    '"else the first SR behind one of the master’s PBDs whose SM driver lists `VDI_CLONE`": default %s',
    async (how) => {
      const { pool, disks } = await scene();
      if (how === 'detached') detach(pool, disks, 'Local storage');
      else if (how === 'of another host') {
        const ref = changeSr(pool, 'Local storage', {});
        for (const pbd of disks.pbds.values()) if (pbd['SR'] === ref) pbd['host'] = 'OpaqueRef:slave';
      } else {
        setDefault(pool, how === 'null' ? NULL_REF : 'OpaqueRef:gone');
        setCapabilities(disks, 'file', ['VDI_CREATE']);
      }
      expect(await place(pool)).toMatchObject({ chosen: 'fallback', sr: { name_label: 'Shared storage' } });
    },
  );

  test.for(['constructor', 'toString', '__proto__'])(
    'a reference that every object of JavaScript has leads nowhere: %s',
    async (ref) => {
      const { pool, disks } = await scene();
      setDefault(pool, ref);
      for (const pbd of disks.pbds.values()) pbd['SR'] = ref;
      expect(await thrownBy(place(pool))).toMatchObject({ code: 'HOST_HAS_NO_PATCH_SR' });
    },
  );

  test('none: HOST_HAS_NO_PATCH_SR', async () => {
    const { pool, disks } = await scene();
    setDefault(pool, NULL_REF);
    for (const type of ['file', 'nfs']) setCapabilities(disks, type, ['VDI_CREATE', 'VDI_DELETE']);
    expect(await thrownBy(place(pool))).toMatchObject({
      name: 'XenApiError',
      code: 'HOST_HAS_NO_PATCH_SR',
      parameters: [...pool.tables.host.keys()],
    });
  });

  test('that is named, by uuid or by a name that no other has', async () => {
    const { pool } = await scene();
    const uuid = String([...pool.tables.SR.values()][1]?.['uuid']);
    for (const sr of [uuid, uuid.slice(0, 8), 'Shared storage']) {
      expect(await place(pool, { sr })).toMatchObject({ chosen: 'named', sr: { uuid } });
    }
    expect(await thrownBy(place(pool, { sr: 'none' }))).toMatchObject({ kind: 'usage' });
    changeSr(pool, 'Local storage', { name_label: 'Shared storage' });
    expect(await thrownBy(place(pool, { sr: 'Shared storage' }))).toMatchObject({
      kind: 'usage',
      message: expect.stringContaining('more than one') as string,
    });
  });

  test('that is named may be one of a slave, but one that nobody reaches is refused', async () => {
    const { pool, disks } = await scene();
    const ref = changeSr(pool, 'Shared storage', {});
    for (const pbd of disks.pbds.values()) if (pbd['SR'] === ref) pbd['host'] = 'OpaqueRef:slave';
    expect(await place(pool, { sr: 'Shared storage' })).toMatchObject({ ref });
    detach(pool, disks, 'Shared storage');
    expect(await thrownBy(place(pool, { sr: 'Shared storage' }))).toMatchObject({ code: 'SR_HAS_NO_PBDS' });
  });
});

describe('free space', () => {
  test('"`physical_size - physical_utilisation`": enough is enough, a byte less is not', async () => {
    const { pool } = await scene();
    changeSr(pool, 'Local storage', { physical_size: 100 * MIB, physical_utilisation: 60 * MIB });
    const found = await place(pool);
    expect(found.freeBytes).toBe(40 * MIB);
    expect(() => requireSpace(found, 40 * MIB, 'pool')).not.toThrow();
    expect(() => requireSpace(found, 40 * MIB + 1, 'pool')).toThrow(
      expect.objectContaining({ kind: 'space', leftBehind: 'nothing was changed on the server' }),
    );
  });

  test.for([
    ['not known', { physical_size: -1, physical_utilisation: -1 }],
    ['not told', { physical_size: 0, physical_utilisation: 0 }],
  ] as const)('that is %s stands in nobody’s way', async ([, sizes]) => {
    const { pool } = await scene();
    changeSr(pool, 'Local storage', sizes);
    const found = await place(pool);
    expect(found.freeBytes).toBeUndefined();
    expect(() => requireSpace(found, 2 ** 50, 'pool')).not.toThrow();
  });
});
