// A pool that takes everything and keeps nothing: as much of XAPI as `patch-vdi upload` asks for, in a process of its own.
//   node xapi-sink.mjs [KEY CERTIFICATE]      prints its URL
// PUT /discard takes any body, as a peer.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

const [key, certificate] = process.argv.slice(2);
const [POOL, HOST, SR, PBD, SESSION] = ['pool', 'host', 'sr', 'pbd', 'session'].map(
  (name) => `OpaqueRef:${name}`,
);
const vdis = new Map();
const tasks = new Map();

const CALLS = {
  'session.login_with_password': () => SESSION,
  'session.logout': () => '',
  'pool.get_all_records': () => ({ [POOL]: { uuid: 'p', master: HOST, default_SR: SR } }),
  'SR.get_all_records': () => ({
    [SR]: {
      uuid: 'sr',
      name_label: 'Discarding',
      type: 'nfs',
      content_type: 'user',
      shared: true,
      physical_size: 2 ** 45,
      physical_utilisation: 0,
      sm_config: {},
    },
  }),
  'PBD.get_all_records': () => ({ [PBD]: { host: HOST, SR, currently_attached: true } }),
  'host.get_PBDs': () => [PBD],
  'SM.get_all_records': () => ({ 'OpaqueRef:sm': { type: 'nfs', capabilities: ['VDI_CLONE'] } }),
  'VDI.create': ([record]) => {
    const ref = `OpaqueRef:${randomUUID()}`;
    vdis.set(ref, { ...record, uuid: randomUUID(), physical_utilisation: 0 });
    return ref;
  },
  'VDI.get_record': ([ref]) => vdis.get(ref),
  'VDI.set_other_config': () => '',
  'VDI.destroy': () => '',
  'task.create': ([label, description]) => {
    const ref = `OpaqueRef:${randomUUID()}`;
    const never = '19700101T00:00:00Z';
    const times = { created: never, finished: never };
    const state = { status: 'pending', progress: 0, result: '', error_info: [], other_config: {} };
    tasks.set(ref, {
      uuid: randomUUID(),
      name_label: label,
      name_description: description,
      ...times,
      ...state,
    });
    return ref;
  },
  'task.get_record': ([ref]) => tasks.get(ref),
  'task.cancel': () => '',
  'task.destroy': () => '',
};

function call(request, response) {
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (part) => (text += part));
  request.on('end', () => {
    const { id, method, params } = JSON.parse(text);
    const run = CALLS[method];
    const rest = method === 'session.login_with_password' ? params : params.slice(1);
    const answer =
      run === undefined
        ? { error: { code: 1, message: 'MESSAGE_METHOD_UNKNOWN', data: [method] } }
        : { result: run(rest) };
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
  });
}

/** The answer comes before the body; success is the task's word. */
function importVdi(request, { searchParams }) {
  const { socket } = request;
  const task = tasks.get(searchParams.get('task_id'));
  socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
  request.resume();
  request.on('end', () => {
    Object.assign(task, { status: 'success', progress: 1, result: searchParams.get('vdi') });
    socket.end();
  });
}

function handle(request, response) {
  const url = new URL(request.url, 'http://sink');
  request.on('error', () => undefined);
  if (url.pathname === '/jsonrpc') return call(request, response);
  if (url.pathname === '/import_raw_vdi') return importVdi(request, url);
  request.resume();
  request.on('end', () => response.end());
}

const server =
  key === undefined
    ? createServer(handle)
    : createSecureServer({ key: readFileSync(key), cert: readFileSync(certificate) }, handle);
server.listen(0, '127.0.0.1', () => {
  const scheme = key === undefined ? 'http' : 'https';
  process.stdout.write(`${scheme}://127.0.0.1:${server.address().port}\n`);
});
