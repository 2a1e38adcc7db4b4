/*
 * `patch-vdi upload` to the project's own server over TLS, with a wire between them that does harm, and with Ctrl-C:
 * whatever happens, no VDI is left, or a whole one that was asked for.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { choosePlace } from '../../src/upload/choose-place.js';
import { uploadImage, type UploadedImage } from '../../src/upload/upload-image.js';
import { connectPool } from '../../src/xenapi/connect.js';
import { startCli } from '../e2e/cli.js';
import { requireTool } from '../oracles/require-tool.js';
import { samplePatch } from '../pool/test-pool.js';
import { TIMEOUTS, thrownBy } from '../xenapi/pools.js';
import { faultyWire, type Wire } from './faulty-wire.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => requireTool(context, 'gpgv', 'mke2fs', 'debugfs'));

const SIZE = 12 * MIB;
/** More than all calls of an upload send on one connection. */
const CALL_BYTES = 64 * 1024;

interface Scene {
  readonly served: ServedPool;
  readonly wire: Wire;
  readonly file: string;
}

async function scene(): Promise<Scene> {
  const served = await ServedPool.start();
  const wire = await faultyWire(served.url);
  const file = served.work.input('hotfix.xsupdate', (await samplePatch('faults', SIZE)).bytes);
  await served.logIn();
  return { served, wire, file };
}

async function upload({ served, wire, file }: Scene, timeouts = TIMEOUTS): Promise<UploadedImage> {
  const connection = await connectPool({
    url: wire.url,
    credentials: { user: 'root', password: served.password },
    trust: { caFile: served.certificate },
    timeouts,
  });
  try {
    const place = await choosePlace(connection, { sr: undefined, format: 'auto' });
    const verify = { signature: { keyrings: [served.place.keyring] } };
    const build = { source: file, verify };
    return await uploadImage({ connection, place, build, nameLabel: 'Patch', version: '1.0.0' });
  } finally {
    await connection.close();
  }
}

async function expectNothing({ served }: Scene): Promise<void> {
  expect(await served.call('VDI.get_all_records')).toEqual({});
  expect(await served.call('task.get_all_records')).toEqual({});
  expect(served.files().filter((name) => name.endsWith('.raw'))).toEqual([]);
}

describe('a wire', () => {
  test('without faults: it goes through', async () => {
    const at = await scene();
    const { vdi } = await upload(at);
    expect(await at.served.call('VDI.get_all')).toEqual([vdi.ref]);
    expect(at.wire.largest).toBeGreaterThan(SIZE);
  });

  test('that is reset at any place of the image', async () => {
    const at = await scene();
    let limit = 0;
    at.wire.fault = ({ sent, client, server }) => {
      if (sent < limit) return;
      client.resetAndDestroy();
      server.resetAndDestroy();
    };
    for (limit of [CALL_BYTES, 1_000_003, 4 * MIB, 7_654_321, 11 * MIB, SIZE]) {
      const error = await thrownBy(upload(at));
      expect(error, String(limit)).toMatchObject({ leftBehind: 'nothing: the VDI was destroyed' });
      await expectNothing(at);
    }
  });

  test('that is reset at any call', async () => {
    const at = await scene();
    const { fault } = at.wire;
    const ends: string[] = [];
    await upload(at).then(({ vdi }) => at.served.call('VDI.destroy', vdi.ref));
    const calls = at.wire.connections;
    expect(calls).toBeGreaterThan(8);
    for (let broken = 1; broken <= calls; broken += 1) {
      const first = at.wire.connections;
      at.wire.fault = ({ number, sent, client, server }) => {
        // When the request has gone through: whether it was done, nobody says.
        if (number !== first + broken || sent < 600) return;
        setImmediate(() => {
          client.resetAndDestroy();
          server.destroy();
        });
      };
      try {
        const { vdi } = await upload(at);
        await at.served.call('VDI.destroy', vdi.ref);
        ends.push('done');
      } catch (error) {
        expect(error).toMatchObject({ leftBehind: expect.any(String) as string });
        ends.push('failed');
      }
      at.wire.fault = fault;
      expect(await at.served.call('VDI.get_all_records')).toEqual({});
    }
    // Reads are made again, what makes something is not.
    expect(new Set(ends)).toEqual(new Set(['done', 'failed']));
  });

  test('that stalls for ever in the middle: given up', async () => {
    const at = await scene();
    at.wire.fault = ({ sent, client }) => {
      if (sent > 4 * MIB) client.pause();
    };
    const error = await thrownBy(upload(at, { ...TIMEOUTS, stall: 3000 }));
    expect(error).toMatchObject({ kind: 'sink', message: 'the output does not take any more' });
    await expectNothing(at);
  });

  test('that is slow: it goes through', async () => {
    const at = await scene();
    let steps = 0;
    at.wire.fault = ({ sent, client }) => {
      if (sent < steps * MIB) return;
      steps += 1;
      client.pause();
      setTimeout(() => client.resume(), 20);
    };
    const { vdi } = await upload(at, { ...TIMEOUTS, stall: 10_000 });
    expect(await at.served.call('VDI.get_all')).toEqual([vdi.ref]);
    expect(steps).toBeGreaterThan(10);
  });
});

describe('Ctrl-C', () => {
  /** Stops a run as soon as the wire says so. @returns its exit code */
  async function stopped(
    { served, wire, file }: Scene,
    now: (connection: { number: number; sent: number }) => boolean,
  ): Promise<number | null> {
    const { work, certificate, place, password } = served;
    const args = ['upload', file, '--pool', wire.url, '--ca-file', certificate, '--keyring', place.keyring];
    const run = startCli(work, args, { env: { PATCH_VDI_PASSWORD: password } });
    let sentSignal = false;
    wire.fault = (connection) => {
      if (sentSignal || !now(connection)) return;
      sentSignal = true;
      run.child.kill('SIGINT');
    };
    const { exitCode, stderr } = await run.ended;
    wire.fault = undefined;
    expect(sentSignal).toBe(true);
    if (exitCode === 130) expect(stderr).toMatch(/left behind +(nothing|what the server)/);
    else expect(exitCode).toBe(0);
    return exitCode;
  }

  test('at every connection: no VDI is left', async () => {
    const at = await scene();
    const codes: (number | null)[] = [];
    for (let wanted = 1; wanted <= 12; wanted += 1) {
      const before = at.wire.connections;
      const code = await stopped(at, ({ number }) => number === before + wanted);
      codes.push(code);
      if (code === 130) await expectNothing(at);
      else {
        for (const vdi of (await at.served.call('VDI.get_all')) as string[]) {
          await at.served.call('VDI.destroy', vdi);
        }
      }
    }
    expect(codes.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => 130));
  });

  test('in the middle of the image: no VDI is left', async () => {
    const at = await scene();
    for (const place of [CALL_BYTES, 2 * MIB, 6_543_210, 11 * MIB, SIZE]) {
      expect(await stopped(at, ({ sent }) => sent > place)).toBe(130);
      await expectNothing(at);
    }
  });
});
