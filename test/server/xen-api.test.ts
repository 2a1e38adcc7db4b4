import { createClient } from '../interop/xen-api.js';
import { expect, test } from 'vitest';
import { SMALL_VDI_BYTES, srRef } from '../pool/test-pool.js';
import { PASSWORD, serve, testApi } from './test-api.js';

test.for(['json-rpc', 'xml-rpc', 'auto'] as const)('npm xen-api over %s', async (transport) => {
  const { api, pool } = await testApi();
  const url = await serve(api);
  const xapi = createClient({ url, auth: { user: 'root', password: PASSWORD }, transport, debounce: 10 });
  await xapi.connect();
  await xapi.objectsFetched;
  expect(xapi.pool.$ref).toBe(pool.pool);
  const vdi = await xapi.call('VDI.create', {
    SR: srRef(pool, 'one'),
    virtual_size: SMALL_VDI_BYTES,
    name_label: ' a ',
  });
  const copy = String(await xapi.callAsync('VDI.copy', vdi, srRef(pool, 'two')));
  expect(copy).toMatch(/^OpaqueRef/);
  expect(await xapi.barrier(copy)).toMatchObject({ name_label: ' a ' });
  expect(await xapi.callAsync('VDI.destroy', copy)).toBe('');
  await xapi.barrier();
  await xapi.disconnect();
});
