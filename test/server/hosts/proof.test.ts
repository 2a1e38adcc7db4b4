import { once } from 'node:events';
import { createServer, connect, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { selfSignedCertificate, type CertificatePair } from '../../../src/server/certificate.js';
import {
  channelBinding,
  checkProof,
  hostKey,
  proofField,
  type ProofFacts,
} from '../../../src/server/hosts/proof.js';
import { requireTool } from '../../oracles/require-tool.js';
import { runTool } from '../run-tool.js';

const UUID = '66666666-6666-4666-8666-666666666666';
const KEY = Buffer.alloc(32, 7);

let pair: CertificatePair;
beforeAll(async () => {
  pair = await selfSignedCertificate({ names: ['localhost'], now: Date.now() });
});

beforeEach((context) => requireTool(context, 'openssl', 'python3'));

interface Ends {
  readonly client: TLSSocket;
  readonly server: TLSSocket;
}

async function connection(maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3'): Promise<Ends> {
  const listener = createServer({ cert: pair.certificatePem, key: pair.keyPem });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion });
  const [[server]] = (await Promise.all([
    once(listener, 'secureConnection'),
    once(client, 'secureConnect'),
  ])) as [[TLSSocket], unknown];
  onTestFinished(() => {
    for (const socket of [client, server]) socket.on('error', () => undefined).destroy();
    listener.close();
  });
  return { client, server };
}

function factsOn(socket: TLSSocket): ProofFacts {
  const channel = channelBinding(socket) ?? Buffer.alloc(32);
  return { sender: 'master', hostUuid: UUID, method: 'POST', target: '/internal/call/x?a=b', channel };
}

const REQUEST = { method: 'POST', target: '/internal/call/x?a=b' };
const CHECK = {
  sender: 'master',
  keyOf: (uuid: string) => (uuid === UUID ? KEY : undefined),
} as const;

test('a proof holds on its own connection', async () => {
  const { client, server } = await connection();
  expect(checkProof(proofField(KEY, factsOn(client)), REQUEST, server, CHECK)).toBe(UUID);
});

test('a proof that was seen on one connection is good for no other one', async () => {
  const [one, other] = await Promise.all([connection(), connection()]);
  const field = proofField(KEY, factsOn(one.client));
  expect(() => checkProof(field, REQUEST, other.server, CHECK)).toThrow('SESSION_AUTHENTICATION_FAILED');
});

test.for([
  ['of a slave', { sender: 'slave' }],
  ['of another host', { hostUuid: '77777777-7777-4777-8777-777777777777' }],
  ['for another method', { method: 'GET' }],
  ['for another path', { target: '/internal/call/y?a=b' }],
  ['for another query', { target: '/internal/call/x?a=c' }],
] as const)('a proof %s is refused', async ([, change]) => {
  const { client, server } = await connection();
  const field = proofField(KEY, { ...factsOn(client), ...change });
  expect(() => checkProof(field, REQUEST, server, CHECK)).toThrow('SESSION_AUTHENTICATION_FAILED');
});

test('another key, no key, no proof and half a proof are refused', async () => {
  const { client, server } = await connection();
  const good = proofField(KEY, factsOn(client));
  const bad = [
    proofField(Buffer.alloc(32, 8), factsOn(client)),
    proofField(Buffer.alloc(32), factsOn(client)),
    undefined,
    '',
    good.slice(0, -1),
    `${good}00`,
    good.replace(UUID, UUID.toUpperCase().replace('6', 'A')),
    `Basic ${Buffer.from('root:x').toString('base64')}`,
  ];
  for (const field of bad) {
    expect(() => checkProof(field, REQUEST, server, CHECK), field ?? 'none').toThrow('FAILED');
  }
  const nobody = { ...CHECK, keyOf: () => undefined };
  const withZeros = proofField(Buffer.alloc(32), factsOn(client));
  expect(() => checkProof(withZeros, REQUEST, server, nobody)).toThrow('FAILED');
});

test('there is no proof over TLS 1.2', async () => {
  const { client, server } = await connection('TLSv1.2');
  expect(channelBinding(client)).toBeUndefined();
  expect(() => checkProof(proofField(KEY, factsOn(client)), REQUEST, server, CHECK)).toThrow('FAILED');
});

test('the channel binding is the one that openssl computes', async () => {
  const listener = createServer({ cert: pair.certificatePem, key: pair.keyPem });
  onTestFinished(() => void listener.close());
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const bindings: string[] = [];
  listener.on('secureConnection', (socket: TLSSocket) => {
    bindings.push(channelBinding(socket)?.toString('hex').toUpperCase() ?? 'none');
    socket.on('error', () => undefined).end('bye\n');
  });
  const exporting = ['-keymatexport', 'EXPORTER-Channel-Binding', '-keymatexportlen', '32'];
  const place = ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_3'];
  const { stdout } = await runTool('openssl', [...place, ...exporting]);
  expect(bindings).toHaveLength(1);
  expect(stdout).toContain(`Keying material: ${bindings[0]}`);
});

test('keys and proofs are the HMACs that Python computes', async () => {
  const program = [
    'import hmac, sys',
    'def mac(key, *parts):',
    '    text = b"".join(b"%d:" % len(part) + part for part in parts)',
    '    return hmac.new(key, text, "sha256").hexdigest()',
    `uuid = b"${UUID}"`,
    'print(mac(b"\\x01" * 32, b"patch-vdi host key 1", uuid, b"token"))',
    'print(mac(b"\\x07" * 32, b"patch-vdi proof 1", b"master", uuid, b"POST", b"/t", b"\\x02" * 32))',
  ].join('\n');
  const { stdout } = await runTool('python3', ['-c', program]);
  const facts = { ...REQUEST, sender: 'master', hostUuid: UUID, target: '/t' } as const;
  expect(stdout.trim().split('\n')).toEqual([
    hostKey(Buffer.alloc(32, 1), UUID, 'token').toString('hex'),
    proofField(KEY, { ...facts, channel: Buffer.alloc(32, 2) }).split(' ')[2],
  ]);
});
