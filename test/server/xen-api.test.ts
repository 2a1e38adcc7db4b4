import { expect, test } from 'vitest';
import { createClient, type XenApiClient } from '../interop/xen-api.js';
import { samplePatch, SMALL_VDI_BYTES, srRef, upload } from '../pool/test-pool.js';
import { PASSWORD, serve, testApi, type TestApi } from './test-api.js';

const TRANSPORTS = ['json-rpc', 'xml-rpc', 'auto'] as const;

async function connected(
  test: TestApi,
  transport: (typeof TRANSPORTS)[number] = 'auto',
  user = 'root',
): Promise<XenApiClient> {
  const url = await serve(test.api);
  const client = createClient({ url, auth: { user, password: PASSWORD }, transport, debounce: 10 });
  await client.connect();
  await client.objectsFetched;
  return client;
}

/** The client says that it goes, and does not wait for it: only then is its `event.from` over. */
async function disconnect({ calls }: TestApi, client: XenApiClient): Promise<void> {
  await client.disconnect();
  const isOut = (): boolean => calls.some(({ method }) => method === 'session.logout');
  for (let tries = 0; tries < 1000 && !isOut(); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(isOut()).toBe(true);
}

/** Of the client's copy of the pool: what it has of each record, by ref. */
const copyOf = (client: XenApiClient): Map<string, unknown> =>
  new Map(Object.values(client.objects.all).map((record) => [record.$ref, { ...record }]));

test.for(TRANSPORTS)('npm xen-api over %s: its copy of the pool follows', async (transport) => {
  const test = await testApi();
  const client = await connected(test, transport);
  const { pool } = test;
  expect(client.pool.$ref).toBe(pool.pool);
  expect(copyOf(client).size).toBe(7);
  const vdi = (await client.call('VDI.create', {
    SR: srRef(pool, 'one'),
    virtual_size: SMALL_VDI_BYTES,
    name_label: ' a\n& b ',
    other_config: { key: '' },
  })) as string;
  expect(await client.barrier(vdi)).toMatchObject({ name_label: ' a\n& b ', other_config: { key: '' } });
  expect(client.getObjectByRef(srRef(pool, 'one'))?.['VDIs']).toEqual([vdi]);
  await client.setFieldEntry('VDI', vdi, 'other_config', 'key', 'new');
  await client.setFieldEntry('VDI', vdi, 'other_config', 'key', 'newer');
  expect(await client.barrier(vdi)).toMatchObject({ other_config: { key: 'newer' } });
  // By itself, not by a call of the client.
  const patch = await upload(pool, await samplePatch('a patch'));
  expect(await client.barrier(patch)).toMatchObject({
    $type: 'pool_patch',
    size: expect.anything() as unknown,
  });
  await pool.vdis.destroy(vdi);
  await client.barrier();
  expect(client.getObjectByRef(vdi, undefined)).toBeUndefined();
  expect([...copyOf(client).keys()].sort()).toEqual(
    (
      await Promise.all(
        ['pool', 'host', 'SR', 'PBD', 'SM', 'VDI', 'pool_patch', 'task'].map((type) =>
          client.getAllRecords(type),
        ),
      )
    )
      .flat()
      .map(({ $ref }) => $ref)
      .sort(),
  );
  await disconnect(test, client);
});

test.for(TRANSPORTS)(
  'npm xen-api over %s: callAsync follows the task, and sees how it ends',
  async (transport) => {
    const test = await testApi();
    const client = await connected(test, transport, 'operator');
    const { pool } = test;
    const disk = { SR: srRef(pool, 'one'), virtual_size: SMALL_VDI_BYTES };
    const vdi = (await client.callAsync('VDI.create', disk)) as string;
    const copy = (await client.callAsync('VDI.copy', vdi, srRef(pool, 'two'))) as string;
    expect(await client.barrier(copy)).toMatchObject({ SR: srRef(pool, 'two') });
    await expect(client.callAsync('VDI.copy', vdi, 'OpaqueRef:none')).rejects.toMatchObject({
      code: 'HANDLE_INVALID',
      params: ['SR', 'OpaqueRef:none'],
    });
    expect(await client.callAsync('VDI.destroy', copy)).toBe('');
    expect(await client.callAsync('VDI.get_all')).toEqual([vdi]);
    await expect(client.call('VDI.get_record', copy)).rejects.toMatchObject({ code: 'HANDLE_INVALID' });
    await client.disconnect();
  },
);

test('npm xen-api: a task that it made for an upload, whose result is the patch', async () => {
  const test = await testApi();
  const client = await connected(test);
  const task = await client.createTask('upload');
  const result = client.watchTask(task);
  const patch = await upload(test.pool, await samplePatch('x'), { task });
  expect(await result).toBe(patch);
  await disconnect(test, client);
});

test('npm xen-api: a wrong password, and a session that is gone', async () => {
  const test = await testApi();
  const url = await serve(test.api);
  const wrong = createClient({ url, auth: { user: 'root', password: 'x' }, watchEvents: false });
  await expect(wrong.connect()).rejects.toMatchObject({ code: 'SESSION_AUTHENTICATION_FAILED' });
  const client = createClient({ url, auth: { user: 'root', password: PASSWORD }, watchEvents: false });
  await client.connect();
  test.sessions.close(client.sessionId);
  // It logs in again by itself.
  expect(await client.getAllRecords('SR')).toHaveLength(2);
  await disconnect(test, client);
});
