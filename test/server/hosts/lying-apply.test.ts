/* A slave that lies about patches: what it says is bounded, counts for itself and for the patch that was asked for. */
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  selfSignedCertificate,
  fingerprintOf,
  type CertificatePair,
} from '../../../src/server/certificate.js';
import { HostLink } from '../../../src/server/hosts/host-link.js';
import { RemoteHostSide } from '../../../src/server/hosts/remote-host-side.js';
import { MIB } from '../../../src/units.js';
import { DEFAULT_TIMEOUTS } from '../../../src/xenapi/exchange.js';
import { parseServerUrl } from '../../../src/xenapi/server-address.js';
import { parseFingerprint } from '../../../src/xenapi/trust.js';

const HOST = 'OpaqueRef:host';
const PATCH = '88888888-8888-4888-8888-888888888888';
const OTHER = '99999999-9999-4999-8999-999999999999';
const INFO = { uuid: PATCH, version: '', nameLabel: 'n', nameDescription: '', afterApplyGuidance: [] };
const REQUEST = {
  patch: { uuid: PATCH, sizeBytes: 1, sha256: '' },
  source: { kind: 'file' },
  again: false,
} as const;

let pair: CertificatePair;
beforeAll(async () => {
  pair = await selfSignedCertificate({ names: ['localhost'], now: Date.now() });
});

/** @param answer undefined: the connection breaks off behind the steps */
async function liar(answer: string | undefined, steps: readonly string[] = []): Promise<RemoteHostSide> {
  const server = createServer({ cert: pair.certificatePem, key: pair.keyPem }, (request, response) => {
    request.resume();
    response.on('error', () => undefined);
    response.writeHead(200);
    const lines = steps.map((phase) => `${JSON.stringify({ progress: { phase } })}\n`).join('');
    if (answer !== undefined) response.end(lines + answer);
    else response.write(`${lines}\n`, () => setTimeout(() => request.socket.destroy(), 50));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const sha256 = parseFingerprint(fingerprintOf(pair.certificatePem));
  const link = new HostLink(() => ({
    server: {
      address: parseServerUrl(`https://127.0.0.1:${port}`),
      trust: { kind: 'certificate', sha256 },
      timeouts: DEFAULT_TIMEOUTS,
    },
    sender: 'master',
    hostUuid: PATCH,
    key: Buffer.alloc(32),
  }));
  return new RemoteHostSide(HOST, link);
}

const result = (value: unknown): string => JSON.stringify({ result: value });
const applied = { kind: 'applied', info: INFO, output: 'done' };

test('the truth is taken', async () => {
  expect(await (await liar(result(applied))).apply(REQUEST, {})).toEqual(applied);
  const list = [{ uuid: PATCH, info: INFO, appliedAt: 1.5 }];
  expect(await (await liar(result(list))).appliedPatches()).toEqual(list);
});

test.for<readonly [string, unknown]>([
  ['nothing', null],
  ['an unknown kind', { kind: 'perhaps' }],
  ['more than was asked for', { ...applied, isAdmin: true }],
  ['output without a bound', { ...applied, output: 'x'.repeat(2 * MIB) }],
  ['guidance that nobody knows', { ...applied, info: { ...INFO, afterApplyGuidance: ['rm -rf /'] } }],
  ['a UUID that is a path', { ...applied, info: { ...INFO, uuid: '../../../etc/passwd' } }],
  ['a name without a bound', { ...applied, info: { ...INFO, nameLabel: 'x'.repeat(5000) } }],
  ['no exit code', { kind: 'applyFailed', ending: { kind: 'exit', exitCode: 1e9 }, output: '' }],
  ['no signal', { kind: 'applyFailed', ending: { kind: 'signal', signal: '\u001b[2J' }, output: '' }],
  ['no time', { kind: 'halfApplied', beganAt: 'long ago' }],
  ['no reason', { kind: 'precheckFailed', failure: { code: 'MOOD' }, output: '' }],
  [
    'too many reasons',
    {
      kind: 'precheckFailed',
      failure: { code: 'PREREQUISITE_MISSING', uuids: Array(1001).fill('') },
      output: '',
    },
  ],
])('an answer that is %s is an error of ours; and may have run when the patch did', async ([, value]) => {
  const before = (await liar(result(value))).apply(REQUEST, {});
  await expect(before).rejects.toMatchObject({ code: 'INTERNAL_ERROR' });
  const during = await (await liar(result(value), ['precheck', 'apply'])).apply(REQUEST, {});
  expect(during).toMatchObject({ kind: 'applyFailed', ending: { kind: 'lost' } });
});

test('another patch than the one that was asked for is not applied', async () => {
  const info = { ...INFO, uuid: OTHER };
  for (const kind of ['applied', 'alreadyApplied']) {
    const said = kind === 'applied' ? { kind, info, output: '' } : { kind, info };
    const outcome = await (await liar(result(said))).apply(REQUEST, {});
    expect(outcome).toMatchObject({ ending: { kind: 'lost', words: expect.stringContaining(OTHER) } });
  }
  const list = await (await liar(result([{ uuid: PATCH, info, appliedAt: 0 }]))).appliedPatches();
  expect(list).toEqual([{ uuid: PATCH, info: undefined, appliedAt: 0 }]);
});

test('a connection that breaks: offline before the patch is asked, lost from then on', async () => {
  const before = (await liar(undefined, ['mount', 'verify'])).apply(REQUEST, {});
  await expect(before).rejects.toMatchObject({ code: 'HOST_OFFLINE', parameters: [HOST] });
  const during = await (await liar(undefined, ['verify', 'info', 'precheck', 'apply'])).apply(REQUEST, {});
  expect(during).toMatchObject({ kind: 'applyFailed', ending: { kind: 'lost' } });
});

test('lists without a bound, times beyond all calendars', async () => {
  const one = { uuid: PATCH, appliedAt: 0 };
  for (const list of [Array(1001).fill(one), [{ ...one, appliedAt: 1e300 }], [{ ...one, uuid: 'x' }], {}]) {
    await expect((await liar(result(list))).appliedPatches()).rejects.toMatchObject({
      code: 'INTERNAL_ERROR',
    });
  }
  const unfinished = Array(1001).fill({ uuid: PATCH, beganAt: 'unknown' });
  await expect((await liar(result({ unfinished }))).sweep()).rejects.toMatchObject({
    code: 'INTERNAL_ERROR',
  });
});
