/*
 * "Must hold, against the project's own `serve`, as a pool, over TLS": an upload whose connection is reset at any point.
 * The judge of what is left is the server's own lists, which were written from the other side.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { KIB, MIB } from '../../src/units.js';
import { choosePlace } from '../../src/upload/choose-place.js';
import { uploadImage, type UploadedImage } from '../../src/upload/upload-image.js';
import { connectPool } from '../../src/xenapi/connect.js';
import type { XenConnection } from '../../src/xenapi/connection.js';
import { TASKS, VDIS } from '../../src/xenapi/records.js';
import { fingerprintOf, readCertificate } from '../../src/xenapi/trust.js';
import { requireTool } from '../oracles/require-tool.js';
import { poolPlace, samplePatch } from '../pool/test-pool.js';
import { TIMEOUTS, thrownBy } from '../xenapi/pools.js';
import { startCli } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

beforeEach((context) => requireTool(context, 'gpgv', 'mke2fs', 'debugfs', 'e2fsck'));

const SIZE = 3 * MIB + 7;

interface Serving {
  readonly port: number;
  readonly password: string;
  readonly fingerprint: string;
}

async function serving(work: Workspace, keyring: string): Promise<Serving> {
  const state = join(work.folder, 'state');
  const args = ['serve', '--state', state, '--listen', '127.0.0.1:0', '--keyring', keyring];
  const { child, ended } = startCli(work, args);
  let words = '';
  child.stderr?.on('data', (part: Buffer) => (words += part.toString('utf8')));
  await expect.poll(() => words).toMatch(/serves https:\/\/\S+:\d+/);
  // Last of all: sessions are closed before.
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  return {
    port: Number(/serves https:\/\/\S+:(\d+)/.exec(words)?.[1]),
    password: /shown only this once:\s+(\S+)/.exec(words)?.[1] ?? '',
    fingerprint: fingerprintOf((await readCertificate(join(state, 'certificate.pem'))).first),
  };
}

/** No call is so long: a connection on which more has gone out is an import. */
const LONGEST_CALL_BYTES = 16 * KIB;

/** Stands between the two. An import is reset when so many bytes of it have gone by; calls go through. */
async function startWire(port: number, resetAfterBytes: number): Promise<string> {
  expect(resetAfterBytes).toBeGreaterThan(LONGEST_CALL_BYTES);
  const sockets = new Set<Socket>();
  const wire = createServer((client) => {
    const host = connect(port, '127.0.0.1');
    let bytes = 0;
    for (const socket of [client, host]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    client.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes < resetAfterBytes) return void host.write(part);
      client.resetAndDestroy();
      host.resetAndDestroy();
    });
    host.pipe(client);
    client.on('close', () => host.destroy());
    host.on('error', () => client.destroy());
  });
  await new Promise<void>((done) => wire.listen(0, '127.0.0.1', done));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => wire.close(done));
  });
  return `https://127.0.0.1:${(wire.address() as AddressInfo).port}`;
}

async function connectedTo(url: string, { password, fingerprint }: Serving): Promise<XenConnection> {
  const credentials = { user: 'root', password };
  const connection = await connectPool({ url, credentials, trust: { fingerprint }, timeouts: TIMEOUTS });
  onTestFinished(() => connection.close());
  return connection;
}

async function leftAt(connection: XenConnection): Promise<object> {
  const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
  const tasks = await connection.callAs(TASKS, 'task.get_all_records');
  return { vdis: Object.keys(vdis).length, tasks: Object.keys(tasks).length };
}

test('an upload becomes a VDI of the server, and one that is reset anywhere becomes nothing', async () => {
  const work = workspace();
  const { keyring } = poolPlace(work.folder);
  const source = work.input('hotfix.xsupdate', (await samplePatch('served', SIZE)).bytes);
  const server = await serving(work, keyring);
  const upload = async (connection: XenConnection, format: 'vhd' | 'raw'): Promise<UploadedImage> =>
    await uploadImage({
      connection,
      place: await choosePlace(connection, { sr: undefined, format }),
      nameLabel: 'Patch hotfix.xsupdate',
      version: '1.2.3',
      build: { source, verify: { signature: { keyrings: [keyring] } } },
    });
  const direct = await connectedTo(`https://127.0.0.1:${server.port}`, server);

  for (const [format, bytes] of [
    ['vhd', 20_000],
    ['vhd', 700_000],
    ['vhd', 3 * MIB],
    ['raw', 5 * MIB],
    ['raw', 16 * MIB],
  ] as const) {
    const cut = await connectedTo(await startWire(server.port, bytes), server);
    const error = await thrownBy(upload(cut, format));
    expect(error, `${format}, ${bytes}`).toMatchObject({ leftBehind: 'nothing: the VDI was destroyed' });
    expect(await leftAt(direct)).toEqual({ vdis: 0, tasks: 0 });
  }

  const whole = await connectedTo(await startWire(server.port, Infinity), server);
  for (const format of ['vhd', 'raw'] as const) {
    const { build, vdi } = await upload(whole, format);
    expect(build).toMatchObject({ format, spooled: false, payloadLength: SIZE });
    expect(build.sha256).toBe((await samplePatch('served', SIZE)).sha256);
    expect(vdi.virtualSize).toBeGreaterThanOrEqual(4 * SIZE);
  }
  expect(await leftAt(direct)).toEqual({ vdis: 2, tasks: 0 });
});
