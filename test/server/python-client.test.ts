import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { requireTool } from '../oracles/require-tool.js';
import { SMALL_VDI_BYTES, SR_UUIDS } from '../pool/test-pool.js';
import { PYTHON } from './python.js';
import { PASSWORD, serve, testApi } from './test-api.js';

/** A plain client, with nothing but python's own library: as in XAPI's documentation of its wire protocol. */
const PROGRAM = `
import json, sys, xmlrpc.client
url, password, sr_uuid, other_uuid, size = sys.argv[1:]
xen = xmlrpc.client.ServerProxy(url + '/')
def check(answer):
    if answer['Status'] != 'Success': raise Exception(answer['ErrorDescription'])
    return answer['Value']
seen = {}
seen['wrong'] = xen.session.login_with_password('root', 'wrong')
seen['methods'] = 'VDI.copy' in xen.system.listMethods()
session = check(xen.session.login_with_password('root', password, '1.0', 'python'))
host = check(xen.pool.get_master(session, check(xen.pool.get_all(session))[0]))
seen['version'] = [check(xen.host.get_API_version_major(session, host)), check(xen.host.get_API_version_minor(session, host))]
sr = check(xen.SR.get_by_uuid(session, sr_uuid))
other = check(xen.SR.get_by_uuid(session, other_uuid))
vdi = check(xen.VDI.create(session, {
    'name_label': 'caf\\u00e9 <&> ', 'name_description': '', 'SR': sr, 'virtual_size': size, 'type': 'user',
    'sharable': False, 'read_only': False, 'other_config': {'a': 'b'}, 'xenstore_data': {}, 'smconfig': {}, 'tags': []}))
seen['record'] = check(xen.VDI.get_record(session, vdi))
token = check(getattr(xen.event, 'from')(session, ['task'], '', 0.0))['token']
task = check(getattr(xen, 'Async').VDI.copy(session, vdi, other))
for attempt in range(1000):
    batch = check(getattr(xen.event, 'from')(session, ['task/' + task], token, 10.0))
    token = batch['token']
    if batch['events'] and batch['events'][-1]['snapshot']['status'] not in ('pending', 'cancelling'): break
record = check(xen.task.get_record(session, task))
seen['task'] = [record['status'], record['progress'], record['created'].value]
copy = record['result'].replace('<value>', '').replace('</value>', '')
seen['copied'] = check(xen.VDI.get_SR(session, copy)) == other
seen['counts'] = batch['valid_ref_counts']['vdi']
seen['destroyed'] = check(xen.VDI.destroy(session, copy))
seen['gone'] = xen.VDI.get_record(session, 'OpaqueRef:gone')
seen['time'] = check(xen.host.get_servertime(session, host)).value
check(xen.session.logout(session))
seen['out'] = xen.pool.get_all(session)['ErrorDescription'][0]
print(json.dumps(seen))
`;

test('python xmlrpc.client, unchanged', async (context) => {
  requireTool(context, PYTHON);
  const { api } = await testApi();
  const url = await serve(api);
  const program = findProgram(PYTHON, DEFAULT_SEARCH_PATH) ?? '';
  const args = [url, PASSWORD, SR_UUIDS.one, SR_UUIDS.two, String(SMALL_VDI_BYTES)];
  const child = spawn(program, ['-c', PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: DEFAULT_SEARCH_PATH.join(':'), PYTHONIOENCODING: 'utf-8' },
    timeout: 50_000,
  });
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(errors).toBe('');
  expect(JSON.parse(output)).toEqual({
    wrong: { Status: 'Failure', ErrorDescription: ['SESSION_AUTHENTICATION_FAILED'] },
    methods: true,
    version: ['2', '5'],
    record: expect.objectContaining({
      name_label: 'café <&> ',
      virtual_size: String(SMALL_VDI_BYTES),
      other_config: { a: 'b' },
      read_only: false,
      VBDs: [],
    }) as unknown,
    task: ['success', 1, '20261121T18:16:00Z'],
    copied: true,
    counts: 2,
    destroyed: '',
    gone: { Status: 'Failure', ErrorDescription: ['HANDLE_INVALID', 'VDI', 'OpaqueRef:gone'] },
    time: '20261121T18:16:00Z',
    out: 'SESSION_INVALID',
  });
});
