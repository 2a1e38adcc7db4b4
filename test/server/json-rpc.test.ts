import { expect, test } from 'vitest';
import { answerJsonRpc } from '../../src/server/json-rpc.js';
import { rpcClient, testApi, type TestApi } from './test-api.js';

const bytes = (body: unknown): Uint8Array =>
  Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));

async function answer({ api }: TestApi, body: unknown): Promise<unknown> {
  const text = await answerJsonRpc(api, bytes(body), rpcClient());
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}

/** JSON-RPC 2.0, section 5.1. */
const CODES = { parse: -32700, request: -32600, parameters: -32602 } as const;

const protocolError = (code: number, id: unknown = null): unknown => ({
  jsonrpc: '2.0',
  error: { code, message: expect.any(String) as string, data: [] },
  id,
});

test('version 2.0: a result, and an error in the form of XAPI', async () => {
  const test = await testApi();
  const session = await test.login('reader');
  const request = { jsonrpc: '2.0', method: 'pool.get_all', params: [session], id: 'a' };
  expect(await answer(test, request)).toEqual({ jsonrpc: '2.0', result: [test.pool.pool], id: 'a' });
  // XAPI's wire protocol, "JSON-RPC v2.0 Return Values".
  expect(await answer(test, { ...request, params: ['OpaqueRef:none'], id: 0 })).toEqual({
    jsonrpc: '2.0',
    error: { code: 1, message: 'SESSION_INVALID', data: ['OpaqueRef:none'] },
    id: 0,
  });
});

test('version 1.0: without the member that says so, and both of result and error', async () => {
  const test = await testApi();
  const session = await test.login('reader');
  const request = { method: 'pool.get_all', params: [session], id: 'xyz' };
  expect(await answer(test, request)).toEqual({ result: [test.pool.pool], error: null, id: 'xyz' });
  expect(await answer(test, { ...request, params: ['OpaqueRef:none'] })).toEqual({
    result: null,
    error: ['SESSION_INVALID', 'OpaqueRef:none'],
    id: 'xyz',
  });
});

test('a notification is done and not answered', async () => {
  const test = await testApi();
  const session = await test.login();
  const add = (key: string): object => ({
    method: 'pool.add_to_other_config',
    params: [session, test.pool.pool, key, 'x'],
  });
  expect(await answer(test, { jsonrpc: '2.0', ...add('two') })).toBeUndefined();
  expect(await answer(test, { ...add('one'), id: null })).toBeUndefined();
  expect(await answer(test, { jsonrpc: '2.0', method: 'no.such', params: {} })).toBeUndefined();
  expect(test.pool.database.get('pool', test.pool.pool).other_config).toEqual({ one: 'x', two: 'x' });
});

test('a batch: the examples of the specification', async () => {
  const test = await testApi();
  const list = { jsonrpc: '2.0', method: 'system.listMethods', params: [] };
  expect(await answer(test, '[]')).toEqual(protocolError(CODES.request));
  expect(await answer(test, '[1]')).toEqual([protocolError(CODES.request)]);
  expect(await answer(test, '[1,2,3]')).toEqual([1, 2, 3].map(() => protocolError(CODES.request)));
  expect(await answer(test, [list, list])).toBeUndefined();
  const unknown = { jsonrpc: '2.0', method: 'foobar', params: ['x'], id: '5' };
  expect(await answer(test, [{ ...list, id: '1' }, list, { foo: 'boo' }, unknown])).toEqual([
    { jsonrpc: '2.0', result: expect.arrayContaining(['VDI.copy']) as string[], id: '1' },
    protocolError(CODES.request),
    { jsonrpc: '2.0', error: { code: 1, message: 'MESSAGE_METHOD_UNKNOWN', data: ['foobar'] }, id: '5' },
  ]);
  const many = Array.from({ length: 33 }, (_, id) => ({ ...list, id }));
  expect(await answer(test, many)).toEqual(protocolError(CODES.request));
  expect(await answer(test, many.slice(1))).toHaveLength(32);
});

const DEEP = 200_000;

/** Named by the reason; with the code and the id of the answer. */
const REFUSED: Readonly<Record<string, readonly [body: unknown, code: number, id?: unknown]>> = {
  nothing: ['', CODES.parse],
  'half a document': ['{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', CODES.parse],
  'no UTF-8': ['\uFFFD', CODES.parse],
  NaN: ['{"jsonrpc":"2.0","method":"x","params":[NaN],"id":1}', CODES.parse],
  'a number': ['1', CODES.request],
  null: ['null', CODES.request],
  'a string': ['"x"', CODES.request],
  'another version': [{ jsonrpc: '3.0', method: 'x', params: [], id: 1 }, CODES.request],
  'version null': [{ jsonrpc: null, method: 'x', params: [], id: 1 }, CODES.request],
  'a method that is a number': [{ jsonrpc: '2.0', method: 1, params: 'bar', id: 1 }, CODES.request],
  'no method': [{ jsonrpc: '2.0', id: 1 }, CODES.request],
  'a method by its prototype': ['{"jsonrpc":"2.0","__proto__":{"method":"x"},"id":1}', CODES.request],
  'an id that is an object': [{ jsonrpc: '2.0', method: 'x', params: [], id: {} }, CODES.request],
  'an id beyond all numbers': ['{"jsonrpc":"2.0","method":"x","params":[],"id":1e999}', CODES.request],
  'parameters by name': [{ jsonrpc: '2.0', method: 'x', params: { a: 1 }, id: 1 }, CODES.parameters, 1],
  'parameters null': [{ jsonrpc: '2.0', method: 'x', params: null, id: 1 }, CODES.parameters, 1],
  'null among them': [{ jsonrpc: '2.0', method: 'x', params: [null], id: 1 }, CODES.parameters, 1],
  'null in a map': [{ jsonrpc: '2.0', method: 'x', params: [{ a: null }], id: 1 }, CODES.parameters, 1],
  'a number beyond all': ['{"jsonrpc":"2.0","method":"x","params":[1e999],"id":1}', CODES.parameters, 1],
  'deep arrays': [
    `{"jsonrpc":"2.0","method":"x","params":${'['.repeat(DEEP)}${']'.repeat(DEEP)},"id":1}`,
    CODES.parameters,
    1,
  ],
  'deep maps': [
    `{"jsonrpc":"2.0","method":"x","params":[${'{"a":'.repeat(DEEP)}1${'}'.repeat(DEEP)}],"id":1}`,
    CODES.parameters,
    1,
  ],
};

test.for(Object.entries(REFUSED))('refused: %s', async ([name, [body, code, id]]) => {
  const test = await testApi();
  const sent = name === 'no UTF-8' ? new Uint8Array([0x22, 0xff, 0x22]) : bytes(body);
  const text = await answerJsonRpc(test.api, sent, rpcClient());
  expect(JSON.parse(text)).toEqual(protocolError(code, id ?? null));
});

test('a key called __proto__ is a key', async () => {
  const test = await testApi();
  const session = await test.login();
  const params = `["${session}","${test.pool.pool}",{"__proto__":"x","constructor":"y"}]`;
  const body = `{"jsonrpc":"2.0","method":"pool.set_other_config","params":${params},"id":1}`;
  expect(await answer(test, body)).toMatchObject({ result: '' });
  const { other_config: config } = test.pool.database.get('pool', test.pool.pool);
  expect(Object.entries(config)).toEqual([
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  const get = { jsonrpc: '2.0', method: 'pool.get_other_config', params: [session, test.pool.pool], id: 1 };
  const text = await answerJsonRpc(test.api, bytes(get), rpcClient());
  expect(text).toContain('{"__proto__":"x","constructor":"y"}');
  const whole = { jsonrpc: '2.0', method: 'pool.get_record', params: [session, test.pool.pool], id: 1 };
  expect(await answerJsonRpc(test.api, bytes(whole), rpcClient())).toContain(
    '{"__proto__":"x","constructor":"y"}',
  );
  await test.call('pool.remove_from_other_config', session, test.pool.pool, '__proto__');
  expect(test.pool.database.get('pool', test.pool.pool).other_config).toEqual({ constructor: 'y' });
});
