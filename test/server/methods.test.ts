/* One test or two for each method of the XenAPI that is served: long, as the list of methods is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import type { Role } from '../../src/server/account.js';
import { DateTime, type RpcValue } from '../../src/server/rpc-value.js';
import { NULL_REF } from '../../src/pool/fields.js';
import {
  oldPatch,
  refused,
  samplePatch,
  SMALL_VDI_BYTES,
  SR_UUIDS,
  srRef,
  upload,
} from '../pool/test-pool.js';
import { NOW, PASSWORD, rpcClient, testApi, type TestApi } from './test-api.js';

/**
 * By hand from XAPI's data model (ocaml/idl/datamodel*.ml, `~allowed_roles` and `~messages_default_allowed_roles`):
 * who may call what.
 */
const ROLES_OF_METHODS: Readonly<Record<Role, readonly string[]>> = {
  'read-only': [
    'session.logout',
    'session.get_uuid',
    'session.get_this_host',
    'session.get_record',
    'event.from',
    'event.inject',
    'task.create',
    'task.cancel',
    'task.destroy',
    'task.set_progress',
    'task.add_to_other_config',
    'task.get_record',
    'pool.get_all',
    'pool.get_all_records',
    'pool.get_default_SR',
    'pool.get_master',
    'host.get_servertime',
    'host.get_API_version_major',
    'host.get_API_version_minor',
    'host.get_address',
    'host.list_methods',
    'SR.get_all_records_where',
    'SR.get_by_name_label',
    'SR.get_physical_size',
    'PBD.get_all_records',
    'VBD.get_all_records',
    'VDI.get_by_uuid',
    'VDI.get_virtual_size',
    'VDI.get_VBDs',
    'pool_patch.get_all_records',
    'pool_patch.get_VDI',
    'pool_patch.get_after_apply_guidance',
    'host_patch.get_all_records',
  ],
  'vm-operator': [],
  'vm-admin': [
    'VDI.create',
    'VDI.copy',
    'VDI.clone',
    'VDI.destroy',
    'VDI.set_name_label',
    'VDI.set_name_description',
    'VDI.set_other_config',
    'VDI.add_to_other_config',
    'VDI.remove_from_other_config',
  ],
  'vm-power-admin': ['SR.scan'],
  'pool-operator': [
    'pool.set_name_label',
    'pool.set_default_SR',
    'pool.add_to_other_config',
    'pool.remove_from_other_config',
    'host.set_name_description',
    'host.set_other_config',
    'SR.set_name_label',
    'SR.add_to_other_config',
    'SR.update',
    'pool_patch.clean',
    'pool_patch.clean_on_host',
    'pool_patch.pool_clean',
    'pool_patch.destroy',
    'pool_patch.precheck',
    'pool_patch.apply',
    'pool_patch.pool_apply',
    'pool_patch.add_to_other_config',
  ],
  'pool-admin': ['pool.eject'],
};

const USERS: readonly (readonly [string, Role])[] = [
  ['reader', 'read-only'],
  ['admin', 'vm-admin'],
  ['operator', 'pool-operator'],
];

const ORDER = Object.keys(ROLES_OF_METHODS);

test.for(USERS)('%s may call what XAPI lets a %s call, and nothing else', async ([user, role]) => {
  const { call, login } = await testApi();
  const methods = await call('system.listMethods');
  for (const [needed, names] of Object.entries(ROLES_OF_METHODS)) {
    expect(methods).toEqual(expect.arrayContaining([...names]));
    for (const name of names) {
      const session = await login(user);
      // Too many parameters: who may not call it is not told how.
      const error = await refused(call(name, session, ...Array.from({ length: 9 }, () => '')));
      const may = ORDER.indexOf(role) >= ORDER.indexOf(needed);
      expect([name, error.code]).toEqual([
        name,
        may ? 'MESSAGE_PARAMETER_COUNT_MISMATCH' : 'RBAC_PERMISSION_DENIED',
      ]);
      if (!may) expect(error.parameters[0]).toBe(name);
    }
  }
});

test('without a session nothing is told but the names of the methods', async () => {
  const { call, login, clock } = await testApi();
  const methods = await call('system.listMethods');
  if (!Array.isArray(methods)) throw new Error('a list');
  expect(methods.length).toBeGreaterThan(150);
  expect(new Set(methods).size).toBe(methods.length);
  expect(await call('system.listMethods', 'anything')).toEqual(methods);
  for (const method of methods as string[]) {
    if (method === 'system.listMethods' || method === 'session.login_with_password') continue;
    for (const session of ['OpaqueRef:x', '', 1, undefined]) {
      const parameters = session === undefined ? [] : [session];
      expect((await refused(call(method, ...parameters))).code).toBe('SESSION_INVALID');
    }
  }
  // A day without a call, and a logout.
  const [idle, out] = [await login(), await login()];
  expect(await call('session.logout', out)).toBe('');
  expect((await refused(call('pool.get_all', out))).description).toEqual(['SESSION_INVALID', out]);
  clock.now += 24 * 3600 * 1000 + 1;
  expect((await refused(call('pool.get_all', idle))).description).toEqual(['SESSION_INVALID', idle]);
});

/** Named by the reason; with what follows the session. */
const REFUSED: Readonly<Record<string, readonly [string, readonly RpcValue[], readonly string[]]>> = {
  'no such method': ['VM.start', [], ['MESSAGE_METHOD_UNKNOWN', 'VM.start']],
  'no such class': ['VM.get_all', [], ['MESSAGE_METHOD_UNKNOWN', 'VM.get_all']],
  'a field that is internal': ['VDI.get_state', ['x'], ['MESSAGE_METHOD_UNKNOWN', 'VDI.get_state']],
  'where the patch lies': [
    'pool_patch.get_filename',
    ['x'],
    ['MESSAGE_METHOD_UNKNOWN', 'pool_patch.get_filename'],
  ],
  'a name of a prototype': ['__proto__', [], ['MESSAGE_METHOD_UNKNOWN', '__proto__']],
  'another one': ['constructor', [], ['MESSAGE_METHOD_UNKNOWN', 'constructor']],
  'a getter of a prototype': ['VDI.get___proto__', ['x'], ['MESSAGE_METHOD_UNKNOWN', 'VDI.get___proto__']],
  nothing: ['', [], ['MESSAGE_METHOD_UNKNOWN', '']],
  'Async of nothing': ['Async.', [], ['MESSAGE_METHOD_UNKNOWN', 'Async.']],
  'Async twice': ['Async.Async.VDI.copy', [], ['MESSAGE_METHOD_UNKNOWN', 'Async.Async.VDI.copy']],
  'Async of an event': ['Async.event.from', [], ['MESSAGE_METHOD_UNKNOWN', 'Async.event.from']],
  'Async of a login': [
    'Async.session.login_with_password',
    [],
    ['MESSAGE_METHOD_UNKNOWN', 'Async.session.login_with_password'],
  ],
  'a patch cannot be renamed': [
    'pool_patch.set_name_label',
    ['x', 'y'],
    ['MESSAGE_METHOD_UNKNOWN', 'pool_patch.set_name_label'],
  ],
  'too few': ['VDI.copy', ['x'], ['MESSAGE_PARAMETER_COUNT_MISMATCH', 'VDI.copy', '2', '1']],
  'too many': [
    'VDI.copy',
    ['a', 'b', 'c', 'd', 'e'],
    ['MESSAGE_PARAMETER_COUNT_MISMATCH', 'VDI.copy', '2', '5'],
  ],
  'a parameter for nothing': [
    'pool.get_all',
    ['x'],
    ['MESSAGE_PARAMETER_COUNT_MISMATCH', 'pool.get_all', '0', '1'],
  ],
  'a task with a name that is none': ['task.create', ['x'.repeat(5000), ''], ['FIELD_TYPE_ERROR', 'label']],
  'another type': ['VDI.get_record', [1], ['FIELD_TYPE_ERROR', 'self']],
  'a list for a text': ['VDI.get_record', [['x']], ['FIELD_TYPE_ERROR', 'self']],
  'a time for a text': ['VDI.get_record', [new DateTime('x')], ['FIELD_TYPE_ERROR', 'self']],
  'a list for a record': ['VDI.create', [[]], ['FIELD_TYPE_ERROR', 'args']],
  'a time for a record': ['VDI.create', [new DateTime('x')], ['FIELD_TYPE_ERROR', 'args']],
  'a record without an SR': ['VDI.create', [{ virtual_size: '1' }], ['FIELD_TYPE_ERROR', 'SR']],
  'a record without a size': ['VDI.create', [{ SR: 'x' }], ['FIELD_TYPE_ERROR', 'virtual_size']],
  'a size with an exponent': [
    'VDI.create',
    [{ SR: 'x', virtual_size: '1e3' }],
    ['FIELD_TYPE_ERROR', 'virtual_size'],
  ],
  'a size that is huge': [
    'VDI.create',
    [{ SR: 'x', virtual_size: '9'.repeat(17) }],
    ['FIELD_TYPE_ERROR', 'virtual_size'],
  ],
  'a size beyond all disks': [
    'VDI.create',
    [{ SR: 'x', virtual_size: 2 ** 50 }],
    ['VALUE_NOT_SUPPORTED', 'virtual_size', String(2 ** 50), '1 to 17592186044416 is'],
  ],
  'a size of nothing': [
    'VDI.create',
    [{ SR: 'x', virtual_size: 0n }],
    ['VALUE_NOT_SUPPORTED', 'virtual_size', '0', '1 to 17592186044416 is'],
  ],
  'a negative size': [
    'VDI.create',
    [{ SR: 'x', virtual_size: '-5' }],
    ['VALUE_NOT_SUPPORTED', 'virtual_size', '-5', '1 to 17592186044416 is'],
  ],
  'half a byte': ['VDI.create', [{ SR: 'x', virtual_size: 0.5 }], ['FIELD_TYPE_ERROR', 'virtual_size']],
  'a type that we do not keep': [
    'VDI.create',
    [{ SR: 'x', virtual_size: 1n, type: 'suspend' }],
    ['VALUE_NOT_SUPPORTED', 'type', 'suspend', 'one of user, system, ephemeral is'],
  ],
  'a disk to share': [
    'VDI.create',
    [{ SR: 'x', virtual_size: 1n, sharable: true }],
    ['VALUE_NOT_SUPPORTED', 'sharable', 'true', 'only false is'],
  ],
  'an SR that is not there': ['VDI.create', [{ SR: 'x', virtual_size: 1n }], ['HANDLE_INVALID', 'SR', 'x']],
  'a map with a number': ['pool.set_other_config', ['x', { a: 1 }], ['FIELD_TYPE_ERROR', 'value']],
  'a long text': ['pool.set_name_label', ['x', 'y'.repeat(65 * 1024)], ['FIELD_TYPE_ERROR', 'value']],
  'no such record': ['VDI.get_record', ['OpaqueRef:x'], ['HANDLE_INVALID', 'VDI', 'OpaqueRef:x']],
  'no such uuid': ['VDI.get_by_uuid', ['x'], ['UUID_INVALID', 'VDI', 'x']],
  'an expression': [
    'SR.get_all_records_where',
    ['field "type" = "lvm"'],
    ['VALUE_NOT_SUPPORTED', 'expr', 'field "type" = "lvm"', 'only "true" is'],
  ],
  'an SR that is none as the default': ['pool.set_default_SR', ['x', 'y'], ['HANDLE_INVALID', 'SR', 'y']],
  'a token that is none': ['event.from', [['*'], 'x', 0], ['EVENT_FROM_TOKEN_PARSE_FAILURE', 'x']],
  'an incremental copy': [
    'VDI.copy',
    ['x', 'y', 'OpaqueRef:base'],
    ['VALUE_NOT_SUPPORTED', 'base_vdi', 'OpaqueRef:base', 'only a whole disk is copied'],
  ],
  'the clock of another host': ['host.get_servertime', ['x'], ['HANDLE_INVALID', 'host', 'x']],
};

test.for(Object.entries(REFUSED))('refused: %s', async ([, [method, parameters, description]]) => {
  const { call, login } = await testApi();
  expect((await refused(call(method, await login(), ...parameters))).description).toEqual(description);
});

test('who logs in wrongly learns nothing, and no secret is in a log or an error', async () => {
  const { call, login, calls } = await testApi();
  for (const [name, password] of [
    ['root', 'wrong-secret'],
    ['nobody', PASSWORD],
    ['', ''],
  ] as const) {
    const error = await refused(call('session.login_with_password', name, password));
    expect(error.description).toEqual(['SESSION_AUTHENTICATION_FAILED']);
  }
  for (const parameters of [[], ['root'], ['root', PASSWORD, '1', 'x', 'more']]) {
    const error = await refused(call('session.login_with_password', ...parameters));
    expect(error.code).toBe('MESSAGE_PARAMETER_COUNT_MISMATCH');
  }
  const notText = await refused(call('session.login_with_password', 'root', { [PASSWORD]: 1n }));
  expect(notText.description).toEqual(['FIELD_TYPE_ERROR', 'pwd']);
  const session = await login('reader');
  await call('session.get_uuid', session, session);
  await refused(call('session.get_uuid', session, await login('root')));
  await refused(call('VDI.destroy', session, session));
  await refused(call('VDI.get_record', session, session));
  const log = JSON.stringify(calls);
  for (const secret of [PASSWORD, 'wrong-secret', session]) expect(log).not.toContain(secret);
  expect(calls.map(({ method, account, error }) => [method, account, error])).toEqual([
    ...Array.from({ length: 3 }, () => [
      'session.login_with_password',
      undefined,
      'SESSION_AUTHENTICATION_FAILED',
    ]),
    ...Array.from({ length: 3 }, () => [
      'session.login_with_password',
      undefined,
      'MESSAGE_PARAMETER_COUNT_MISMATCH',
    ]),
    ['session.login_with_password', undefined, 'FIELD_TYPE_ERROR'],
    ['session.login_with_password', 'reader', undefined],
    ['session.get_uuid', 'reader', undefined],
    ['session.login_with_password', 'root', undefined],
    ['session.get_uuid', 'reader', 'HANDLE_INVALID'],
    ['VDI.destroy', 'reader', 'RBAC_PERMISSION_DENIED'],
    ['VDI.get_record', 'reader', 'HANDLE_INVALID'],
  ]);
});

test('a session: what clients ask of their own', async () => {
  const { call, pool, api } = await testApi();
  const parameters = ['operator', PASSWORD, '1.3', 'my client'];
  const session = (await api.call('session.login_with_password', parameters, rpcClient())) as string;
  expect(await call('session.get_record', session, session)).toEqual({
    uuid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    this_host: pool.host,
    this_user: NULL_REF,
    last_active: new DateTime('20261121T18:16:00Z'),
    validation_time: new DateTime('20261121T18:16:00Z'),
    pool: false,
    is_local_superuser: false,
    subject: NULL_REF,
    auth_user_sid: '',
    auth_user_name: 'operator',
    originator: 'my client',
    other_config: {},
  });
  expect(await call('session.get_this_host', session, session)).toBe(pool.host);
});

test('records: the types of the XenAPI, nothing internal', async () => {
  const { call, login, pool } = await testApi();
  const session = await login();
  const sr = srRef(pool, 'one');
  const vdi = (await call('VDI.create', session, {
    SR: sr,
    virtual_size: '1000',
    name_label: 'disk',
    type: 'system',
    sm_config: { a: 'b' },
    xenstore_data: {},
    tags: [],
  })) as string;
  expect(await call('VDI.get_record', session, vdi)).toEqual({
    uuid: expect.any(String) as string,
    name_label: 'disk',
    name_description: '',
    SR: sr,
    VBDs: [],
    // A multiple of 512.
    virtual_size: 1024n,
    physical_utilisation: expect.any(BigInt) as bigint,
    type: 'system',
    sharable: false,
    read_only: false,
    managed: true,
    location: expect.any(String) as string,
    other_config: {},
    sm_config: { a: 'b' },
  });
  expect(await call('SR.get_VDIs', session, sr)).toEqual([vdi]);
  expect(await call('SR.get_by_name_label', session, 'SR one')).toEqual([sr]);
  expect(await call('SR.get_by_uuid', session, SR_UUIDS.one)).toBe(sr);
  expect(Object.keys((await call('SR.get_all_records_where', session, ' true ')) as object)).toHaveLength(2);
  const task = (await call('task.create', session, 'label', 'description')) as string;
  expect(await call('task.get_record', session, task)).toMatchObject({
    created: new DateTime('20261121T18:16:00Z'),
    finished: new DateTime('19700101T00:00:00Z'),
    progress: 0,
    status: 'pending',
    type: '<none/>',
  });
  expect(await call('host.get_servertime', session, pool.host)).toEqual(new DateTime('20261121T18:16:00Z'));
  expect(await call('host.get_record', session, pool.host)).toMatchObject({
    hostname: 'host-one',
    API_version_major: 2n,
    API_version_minor: 5n,
    software_version: { product_brand: 'patch-vdi', product_version: '9.8.7' },
  });
  expect(NOW % 1000).toBe(0);
});

test('setters, and a key that is there already', async () => {
  const { call, login, pool } = await testApi();
  const session = await login('operator');
  const sr = srRef(pool, 'two');
  await call('SR.set_name_label', session, sr, 'other');
  await call('SR.add_to_other_config', session, sr, 'key', '1');
  const again = await refused(call('SR.add_to_other_config', session, sr, 'key', '2'));
  expect(again.description).toEqual(['MAP_DUPLICATE_KEY', 'SR', 'other_config', SR_UUIDS.two, 'key']);
  expect(await call('SR.get_other_config', session, sr)).toEqual({ key: '1' });
  await call('SR.remove_from_other_config', session, sr, 'key');
  await call('SR.remove_from_other_config', session, sr, 'key');
  await call('SR.set_other_config', session, sr, { a: 'b' });
  expect(await call('SR.get_record', session, sr)).toMatchObject({
    name_label: 'other',
    other_config: { a: 'b' },
  });
  await call('pool.set_default_SR', session, pool.pool, sr);
  expect(await call('pool.get_default_SR', session, pool.pool)).toBe(sr);
  await call('pool.set_default_SR', session, pool.pool, NULL_REF);
  expect(await call('pool.get_default_SR', session, pool.pool)).toBe(NULL_REF);
});

test('what is stored has its bounds', async () => {
  const { api, call, login, pool } = await testApi();
  const session = await login();
  const value = 'x'.repeat(60 * 1024);
  for (const key of ['a', 'b', 'c', 'd']) {
    await call('pool.add_to_other_config', session, pool.pool, key, value);
  }
  const full = await refused(call('pool.add_to_other_config', session, pool.pool, 'e', value));
  expect(full.code).toBe('VALUE_NOT_SUPPORTED');
  expect(Object.keys(pool.database.get('pool', pool.pool).other_config)).toHaveLength(4);
  const reader = await login('reader');
  await call('task.create', reader, 'x', '');
  const many = await pool.database.change((draft) =>
    Array.from({ length: 499 }, (_, index) => draft.create('task', { uuid: String(index) })),
  );
  for (const task of many) api.taskOwners.add(task, { name: 'reader', role: 'read-only' });
  expect((await refused(call('task.create', reader, 'x', ''))).description).toEqual(['TOO_BUSY']);
  await call('task.create', session, 'of somebody else', '');
});

async function tasksOf({ call, login }: TestApi, owner: string): Promise<readonly [string, string]> {
  const session = await login(owner);
  return [session, (await call('task.create', session, 'x', '')) as string];
}

test('tasks: everybody his own, a pool-operator all', async () => {
  const test = await testApi();
  const { call, login, pool } = test;
  const [mine, task] = await tasksOf(test, 'admin');
  const [theirs] = await tasksOf(test, 'admin2');
  for (const [method, ...more] of [
    ['task.cancel'],
    ['task.destroy'],
    ['task.set_progress', 0.5],
    ['task.add_to_other_config', 'a', 'b'],
  ] as const) {
    expect((await refused(call(method, theirs, task, ...more))).code).toBe('RBAC_PERMISSION_DENIED');
    expect((await refused(call(method, mine, 'OpaqueRef:none', ...more))).code).toBe('HANDLE_INVALID');
  }
  // Of the same account, though of another session.
  const second = await login('admin');
  await call('task.set_progress', second, task, 0.5);
  await call('task.add_to_other_config', second, task, 'a', 'b');
  expect(pool.database.get('task', task)).toMatchObject({ progress: 0.5, other_config: { a: 'b' } });
  const operator = await login('operator');
  await call('task.cancel', operator, task);
  expect(pool.database.get('task', task).status).toBe('cancelling');
  await call('task.destroy', operator, task);
  expect(pool.database.find('task', task)).toBeUndefined();
});

test('VDI: create, clone, copy between SRs, destroy', async () => {
  const { call, login, pool, place } = await testApi();
  const session = await login('admin');
  const vdi = await call('VDI.create', session, {
    SR: srRef(pool, 'one'),
    virtual_size: BigInt(MIB),
    type: 'ephemeral',
  });
  const clone = await call('VDI.clone', session, vdi, {});
  const copy = await call('VDI.copy', session, vdi, srRef(pool, 'two'), NULL_REF, '');
  expect(await call('VDI.get_type', session, copy)).toBe('ephemeral');
  expect(await call('VDI.get_SR', session, clone)).toBe(srRef(pool, 'one'));
  expect(await call('VDI.get_SR', session, copy)).toBe(srRef(pool, 'two'));
  const uuid = (await call('VDI.get_uuid', session, copy)) as string;
  expect(readFileSync(join(place.sr('two'), `${uuid}.raw`)).every((byte) => byte === 0)).toBe(true);
  for (const one of [vdi, clone, copy]) await call('VDI.destroy', session, one);
  expect(await call('VDI.get_all', session)).toEqual([]);
  const full = { SR: srRef(pool, 'one'), virtual_size: String(2 ** 43) };
  expect((await refused(call('VDI.create', session, full))).code).toBe('SR_FULL');
});

test('pool_patch: "They will still try to clean a patch from the local filesystem", "destroy any associated patch VDI"', async () => {
  const { call, login, pool } = await testApi();
  const session = await login('operator');
  const old = await oldPatch(pool, await samplePatch('old'));
  expect(await call('pool_patch.clean_on_host', session, old.ref, pool.host)).toBe('');
  expect(() => readFileSync(old.path)).toThrow('ENOENT');
  const patch = await upload(pool, await samplePatch('new'));
  const record = await call('pool_patch.get_record', session, patch);
  expect(record).toMatchObject({ pool_applied: false, host_patches: [], size: expect.any(BigInt) as bigint });
  expect(Object.keys(record as object)).not.toContain('filename');
  const vdi = await call('pool_patch.get_VDI', session, patch);
  expect(await call('VDI.get_virtual_size', session, vdi)).toBe(BigInt(SMALL_VDI_BYTES));
  expect(await call('pool_patch.clean', session, patch)).toBe('');
  expect(await call('VDI.get_all', session)).toEqual([vdi]);
  expect(await call('pool_patch.pool_clean', session, patch)).toBe('');
  expect(await call('VDI.get_all', session)).toEqual([]);
  expect(await call('pool_patch.get_VDI', session, patch)).toBe(vdi);
  expect(await call('pool_patch.destroy', session, patch)).toBe('');
  expect(await call('pool_patch.get_all', session)).toEqual([old.ref]);
});

test('SR.scan says how full it is', async () => {
  const { call, login, pool } = await testApi();
  const session = await login();
  expect(await call('SR.scan', session, srRef(pool, 'one'))).toBe('');
  expect(await call('SR.get_physical_size', session, srRef(pool, 'one'))).toBeGreaterThan(0n);
  expect((await refused(call('SR.scan', session, 'x'))).description).toEqual(['HANDLE_INVALID', 'SR', 'x']);
});

test('what everybody may put into a task is small', async () => {
  const { call, login } = await testApi();
  const reader = await login('reader');
  const task = (await call('task.create', reader, 'x', '')) as string;
  await call('task.set_other_config', reader, task, { a: 'x'.repeat(16_000) });
  const error = await refused(call('task.add_to_other_config', reader, task, 'b', 'x'.repeat(400)));
  expect(error.description.slice(0, 2)).toEqual(['VALUE_NOT_SUPPORTED', 'other_config']);
});
