/* A slave that lies: what its master takes from it, in any answer, harms nobody else and ends. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  selfSignedCertificate,
  fingerprintOf,
  type CertificatePair,
} from '../../../src/server/certificate.js';
import { PING } from '../../../src/server/hosts/host-calls.js';
import { HostLink } from '../../../src/server/hosts/host-link.js';
import { RemoteRepository } from '../../../src/server/hosts/remote-repository.js';
import { SR_LIST_VDIS, VDI_FACTS } from '../../../src/server/hosts/sr-calls.js';
import { DEFAULT_TIMEOUTS } from '../../../src/xenapi/exchange.js';
import { parseServerUrl } from '../../../src/xenapi/server-address.js';
import { parseFingerprint } from '../../../src/xenapi/trust.js';
import { MIB } from '../../../src/units.js';

const SR = '55555555-5555-4555-8555-555555555555';
const VDI = '88888888-8888-4888-8888-888888888888';
const OTHER = '99999999-9999-4999-8999-999999999999';
const PLACE = { sr: SR, vdi: VDI };

let pair: CertificatePair;
beforeAll(async () => {
  pair = await selfSignedCertificate({ names: ['localhost'], now: Date.now() });
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function liar(handle: Handler, sha256?: string): Promise<{ link: HostLink; server: Server }> {
  const server = createServer({ cert: pair.certificatePem, key: pair.keyPem }, (request, response) => {
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    handle(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const link = new HostLink(() => ({
    server: {
      address: parseServerUrl(`https://127.0.0.1:${port}`),
      trust: {
        kind: 'certificate',
        sha256: sha256 ?? parseFingerprint(fingerprintOf(pair.certificatePem)),
      },
      timeouts: DEFAULT_TIMEOUTS,
    },
    sender: 'master',
    hostUuid: VDI,
    key: Buffer.alloc(32),
  }));
  return { link, server };
}

const says =
  (text: string): Handler =>
  (_request, response) =>
    void response.writeHead(200).end(text);

function repositoryAt(link: HostLink, size: number | undefined = MIB): RemoteRepository {
  return new RemoteRepository({
    facts: {
      uuid: SR,
      nameLabel: 'lies',
      type: 'folder',
      capabilities: new Set(),
      shared: false,
      deviceConfig: {},
    },
    link,
    isReachable: () => true,
    sizeOf: () => size,
    spoolFolder: '/nonexistent',
    now: () => 0,
  });
}

const factsOf = (change: object): string =>
  JSON.stringify({
    result: { uuid: VDI, location: 'x', virtualSize: MIB, physicalUtilisation: 0, ...change },
  });

test.for<readonly [string, string]>([
  ['nothing', ''],
  ['no JSON', 'hello'],
  ['half of an answer', '{"result": {'],
  ['neither result nor error', '{}'],
  ['both', '{"result": null, "error": {"code": "X", "parameters": []}}'],
  ['another type', '{"result": 7}'],
  ['a negative size', factsOf({ virtualSize: -1 })],
  ['a size that is no number', factsOf({ virtualSize: '1' })],
  ['a size beyond all numbers', factsOf({ virtualSize: 1e300 })],
  ['half a byte', factsOf({ physicalUtilisation: 0.5 })],
  ['a long location', factsOf({ location: 'x'.repeat(1000) })],
  ['a UUID that is a path', factsOf({ uuid: '../../../../../../../../etc/passwd-xx' })],
  ['more than was asked for', factsOf({ isAdmin: true })],
  [
    'an error with many words',
    JSON.stringify({ error: { code: 'VDI_MISSING', parameters: Array(17).fill('') } }),
  ],
])('facts that are %s are no facts', async ([, text]) => {
  const { link } = await liar(says(text));
  await expect(link.call(VDI_FACTS, PLACE)).rejects.toMatchObject({ kind: 'sink' });
});

test('another disk, or one of another size than the records have, is not taken', async () => {
  for (const change of [{ uuid: OTHER }, { virtualSize: 2 * MIB }, { virtualSize: 2 ** 50 }]) {
    const { link } = await liar(says(factsOf(change)));
    await expect(repositoryAt(link).vdiFacts(VDI)).rejects.toMatchObject({ kind: 'sink' });
    const request = { uuid: VDI, nameLabel: '', virtualSize: MIB };
    await expect(repositoryAt(link, undefined).createVdi(request)).rejects.toMatchObject({ kind: 'sink' });
  }
});

test('of errors only those pass that are about storage and patches; the others become one of ours', async () => {
  const tell = async (code: string, parameters: readonly string[]): Promise<unknown> => {
    const { link } = await liar(says(JSON.stringify({ error: { code, parameters } })));
    return await link.call(VDI_FACTS, PLACE).catch((error: unknown) => error);
  };
  expect(await tell('VDI_MISSING', ['a', 'b'])).toMatchObject({
    code: 'VDI_MISSING',
    parameters: ['a', 'b'],
  });
  for (const code of ['SESSION_INVALID', 'HOST_IS_SLAVE', 'SESSION_AUTHENTICATION_FAILED', '\u001b[2J']) {
    const error = await tell(code, ['evil.example']);
    expect(error).toMatchObject({ code: 'INTERNAL_ERROR' });
    expect(String(error)).not.toContain('\u001b');
  }
});

test('an answer without an end is cut off', async () => {
  const flood =
    (line: string): Handler =>
    (_request, response) => {
      response.writeHead(200);
      const send = (): void => {
        while (!response.destroyed && response.write(line));
        if (!response.destroyed) response.once('drain', send);
      };
      send();
    };
  for (const line of ['x'.repeat(65_536), `${'x'.repeat(20_000)}\n`, `${'\n'.repeat(65_536)}`]) {
    const { link } = await liar(flood(line));
    await expect(link.call(SR_LIST_VDIS, { sr: SR })).rejects.toMatchObject({ kind: 'sink' });
  }
});

test('who only shows that he is alive is not waited for where there is a limit', async () => {
  const { link } = await liar((_request, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('\n'), 20);
    response.once('close', () => clearInterval(timer));
  });
  const limits = { timeoutMilliseconds: 2000 };
  await expect(link.call(PING, { certificate: '0'.repeat(64) }, limits)).rejects.toMatchObject({
    kind: 'sink',
    context: { found: 'no complete answer after 2 seconds' },
  });
});

test('whoever cancels a call waits no longer', async () => {
  const { link } = await liar((_request, response) => response.writeHead(200).flushHeaders());
  const stop = new AbortController();
  const call = link.call(SR_LIST_VDIS, { sr: SR }, { signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 50);
  await expect(call).rejects.toThrow('enough');
});

test('a list of disks that is endless or no list is refused', async () => {
  const many = JSON.stringify({ result: Array<string>(100_001).fill(VDI) });
  for (const text of [many, '{"result": ["../x"]}', '{"result": {"0": "x"}}']) {
    const { link } = await liar(says(text));
    await expect(link.call(SR_LIST_VDIS, { sr: SR })).rejects.toMatchObject({ kind: 'sink' });
  }
});

test('a host with another certificate is sent nothing', async () => {
  let requests = 0;
  const { link } = await liar((_request, response) => {
    requests += 1;
    response.end();
  }, '0'.repeat(64));
  await expect(link.call(VDI_FACTS, PLACE)).rejects.toMatchObject({
    message: 'the server could not be trusted: its certificate is another one',
  });
  expect(requests).toBe(0);
});

test('a disk that breaks off, or is none, is an error for whoever copies it', async () => {
  for (const body of ['', 'no runs at all, but sixteen bytes and more of them']) {
    const { link } = await liar(says(body));
    const read = async (): Promise<void> => {
      for await (const _run of link.readRuns({ ...PLACE, start: 0, end: MIB }));
    };
    await expect(read()).rejects.toMatchObject({ kind: 'sink' });
  }
});

test('progress comes as it is told, and what is none is passed over', async () => {
  const v = await import('valibot');
  const { longCall } = await import('../../../src/server/hosts/internal-call.js');
  const call = longCall('x', v.null(), v.number(), v.number());
  const lines = [
    '',
    '{"progress": 1}',
    '{"progress": "2"}',
    'no JSON',
    '7',
    '{"progress": 3}',
    '{"result": 4}',
  ];
  const { link } = await liar(says(lines.join('\n')));
  const steps: number[] = [];
  expect(await link.call(call, null, { onProgress: (step) => void steps.push(step) })).toBe(4);
  expect(steps).toEqual([1, 3]);
});
