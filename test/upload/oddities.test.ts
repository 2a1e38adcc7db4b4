/*
 * Every sentence of xapi-facts.md about PUT /import_raw_vdi, played by the replay, which was written from the same
 * sentences. Each test has the sentence that it is about.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { MIB, roundUp } from '../../src/units.js';
import { expectPatchDisk, requireImageJudges } from '../e2e/judges/patch-disk.js';
import { makeCertificate } from '../oracles/certificates.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { changeSr, errorPage, fail, redirect, succeed } from '../oracles/xapi-replay-disks.js';
import { ReplayError, startReplay } from '../oracles/xapi-replay.js';
import { TIMEOUTS, thrownBy, wordsOf } from '../xenapi/pools.js';
import { expectUndone, importOf, scene, type Scene } from './scene.js';

beforeEach((context) => {
  requireTool(context, 'openssl', 'gpgv');
  requireImageJudges(context);
});

const SIZE = 5 * MIB + 3;
const DISK = roundUp(4 * SIZE, 2 * MIB);

const hasCode = (code: string) => ({ name: 'XenApiError', code });

describe('an upload', () => {
  test('goes into a VDI whose image the judges take, and says in other_config what is in it', async () => {
    const at = await scene(SIZE);
    const { vdi, labels, build } = await at.upload();
    const record = at.pool.tables.VDI.get(vdi.ref);
    expect(record).toMatchObject({ virtual_size: DISK, name_label: 'Patch hotfix.xsupdate' });
    expect(record?.['other_config']).toEqual({
      'patch-vdi:version': '1.2.3',
      'patch-vdi:sha256': at.patch.sha256,
      'patch-vdi:size': String(SIZE),
      'patch-vdi:signer': labels.signer,
      'patch-vdi:uuid': build.filesystemUuid,
    });
    expect(build.spooled).toBe(false);
    const image = join(at.folder, 'image.vhd');
    writeFileSync(image, at.disks.contents.get(vdi.ref) ?? '');
    await expectPatchDisk(image, 'vhd', at.file, DISK);
    expect(at.pool.tables.task.size).toBe(0);
  });

  test('of raw bytes is verified first', async () => {
    const at = await scene(SIZE);
    const { vdi, build } = await at.upload({ format: 'raw' });
    expect(build.spooled).toBe(false);
    const image = join(at.folder, 'image.raw');
    writeFileSync(image, at.disks.contents.get(vdi.ref) ?? '');
    await expectPatchDisk(image, 'raw', at.file, DISK);
  });
});

describe('PUT /import_raw_vdi', () => {
  test('"Parameters": vdi, format, task_id and session_id in the query; "`vdi` is required for VHD"', async () => {
    const at = await scene(SIZE);
    const { vdi } = await at.upload();
    const { query } = importOf(at);
    expect([...query.keys()].toSorted()).toEqual(['format', 'session_id', 'task_id', 'vdi']);
    expect(query.get('vdi')).toBe(vdi.ref);
    expect(query.get('format')).toBe('vhd');
  });

  test('"Any `Transfer-Encoding` is refused (404). The presence of a `chunked` parameter with VHD too"', async () => {
    const at = await scene(SIZE);
    await at.upload();
    const { headers, query } = importOf(at);
    expect(headers['transfer-encoding']).toBeUndefined();
    expect(headers.expect).toBeUndefined();
    expect(query.has('chunked')).toBe(false);
  });

  test('"For VHD, Content-Length must be the exact length of the stream: the trailing footer is looked for at `(length - 1) & ~511`"', async () => {
    const at = await scene(SIZE);
    const { vdi, build } = await at.upload();
    const { headers, received } = importOf(at);
    expect(headers['content-length']).toBe(String(build.outputLength));
    expect(received).toBe(build.outputLength);
    expect(at.disks.contents.get(vdi.ref)?.length).toBe(build.outputLength);
  });

  test('"`200 OK` […] comes before the VDI is attached or any body is read": without it not a byte goes out', async () => {
    const at = await scene(SIZE);
    let silent = true;
    at.disks.instead = () => (silent ? '' : undefined);
    const { intercept } = at.pool;
    at.pool.intercept = (request, response) => {
      // No answer at all, and the connection stays.
      if (request.method === 'PUT' && silent) return true;
      return intercept?.(request, response) === true;
    };
    const timeouts = { ...TIMEOUTS, stall: 300 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    expect(error).toMatchObject({ kind: 'sink', message: 'the server does not answer: PUT /import_raw_vdi' });
    expect(importOf(at).received).toBe(0);
    await expectUndone(at);
    silent = false;
    await at.upload({ connect: { timeouts } });
  });

  test('"Success is the task’s `status` = `success`": a 200 and the end of the connection are none', async () => {
    const at = await scene(SIZE);
    at.disks.finish = ({ socket }) => socket.end();
    const timeouts = { ...TIMEOUTS, stall: 300 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    expect(error).toMatchObject({
      kind: 'sink',
      message: expect.stringContaining('the task does not go on') as string,
      leftBehind: 'nothing: the VDI was destroyed',
    });
    expectUndoneButComplete(at);
  });

  test('"Success is the task’s `status`": also when it comes long after the connection has ended', async () => {
    const at = await scene(SIZE);
    at.disks.finish = (running) => {
      running.socket.destroy();
      setTimeout(() => succeed(running), 200);
    };
    const { vdi } = await at.upload();
    expect(at.pool.tables.VDI.has(vdi.ref)).toBe(true);
  });

  test('"Failure: `failure` with `error_info`, mostly `["VDI_IO_ERROR", "Device I/O errors"]`": the task fails late', async () => {
    const at = await scene(SIZE);
    at.disks.finish = (running) => {
      running.task['progress'] = 0.9;
      setTimeout(() => fail(running, 'VDI_IO_ERROR', 'Device I/O errors'), 100);
    };
    expect(await thrownBy(at.upload())).toMatchObject({
      ...hasCode('VDI_IO_ERROR'),
      leftBehind: 'nothing: the VDI was destroyed',
    });
    expectUndoneButComplete(at);
  });

  test.for([
    ['at the start', 0],
    ['in the middle', 3 * MIB],
  ] as const)('"after the 200 […] the connection is reset": %s', async ([, after]) => {
    const at = await scene(SIZE);
    at.disks.during = ({ socket, received, task }) => {
      if (received <= after) return false;
      Object.assign(task, { status: 'failure', error_info: ['VDI_IO_ERROR', 'Device I/O errors'] });
      socket.destroy();
      return true;
    };
    expect(await thrownBy(at.upload())).toMatchObject(hasCode('VDI_IO_ERROR'));
    await expectUndone(at);
  });

  test('"after the 200 […] the connection is reset", and the task says nothing', async () => {
    const at = await scene(SIZE);
    at.disks.during = ({ socket, received }) => {
      if (received < MIB) return false;
      socket.resetAndDestroy();
      return true;
    };
    const timeouts = { ...TIMEOUTS, farewell: 300 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    expect(error).toMatchObject({ kind: 'sink', message: 'the import broke off' });
    // It is never sent again.
    expect(at.pool.requests.filter(({ path }) => path === '/import_raw_vdi')).toHaveLength(1);
    await expectUndone(at);
  });

  test.for([
    ['500 Internal Server Error', 'VDI_IO_ERROR'],
    ['400 Bad Request', undefined],
  ] as const)(
    '"after the 200 the body may then hold a literal `HTTP/1.1 400`/`500` response": %s, the task says %s',
    async ([status, code]) => {
      const at = await scene(SIZE);
      at.disks.during = ({ socket, received, task }) => {
        if (received < MIB) return false;
        if (code !== undefined) Object.assign(task, { status: 'failure', error_info: [code] });
        // The connection stays open, and nothing more is read.
        socket.write(errorPage(status));
        return true;
      };
      const timeouts = { ...TIMEOUTS, farewell: 300 };
      const error = await thrownBy(at.upload({ connect: { timeouts } }));
      if (code === undefined) expect(wordsOf(error)).toContain(status);
      else expect(error).toMatchObject(hasCode(code));
      await expectUndone(at);
    },
  );

  test('a literal `HTTP/1.1 500` that comes byte by byte, behind other words', async () => {
    const at = await scene(SIZE);
    const words = `${'HTTP/1.'.repeat(3000)}${errorPage('500 Internal Server Error')}`;
    let said = false;
    at.disks.during = ({ socket, received }) => {
      if (received < MIB || said) return said;
      said = true;
      socket.setNoDelay(true);
      for (const letter of words) socket.write(letter);
      return true;
    };
    const timeouts = { ...TIMEOUTS, farewell: 300 };
    expect(wordsOf(await thrownBy(at.upload({ connect: { timeouts } })))).toContain('500 Internal');
    await expectUndone(at);
  });

  test('a literal `HTTP/1.1 500` after all of the body: the task is not waited for for ever', async () => {
    const at = await scene(SIZE);
    at.disks.finish = ({ socket }) => void socket.write(errorPage('500 Internal Server Error'));
    const timeouts = { ...TIMEOUTS, farewell: 300 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    expect(wordsOf(error)).toContain('500 Internal Server Error');
    expectUndoneButComplete(at);
  });

  test('"`302` to another host when this one cannot see the SR; the body is not read and the task stays pending"', async () => {
    const folder = temporaryFolder();
    const certificate = makeCertificate(folder, 'pool');
    const at = await scene(SIZE, { certificate });
    // The host that can see the SR: the same pool by another name.
    const other = `https://localhost:${at.pool.port}`;
    at.disks.instead = (request) =>
      request.headers.host?.startsWith('127.0.0.1') === true
        ? redirect(`${other}/import_raw_vdi?vdi=x&session_id=y`)
        : undefined;
    const { vdi } = await at.upload({ connect: { trust: { caFile: certificate.file } } });
    const [first, second, ...more] = at.pool.requests.filter(({ path }) => path === '/import_raw_vdi');
    expect(more).toEqual([]);
    expect(first).toMatchObject({ received: 0 });
    // The same task, VDI and session: what the location says beside the host is not used.
    expect(second?.query.toString()).toBe(first?.query.toString());
    expect(second?.query.get('vdi')).toBe(vdi.ref);
  });

  test.for([
    ['another scheme', (port: number) => `http://127.0.0.1:${port}/import_raw_vdi`],
    ['another path', (port: number) => `https://127.0.0.1:${port}/elsewhere`],
    ['credentials of its own', (port: number) => `https://a:b@127.0.0.1:${port}/import_raw_vdi`],
    ['nonsense', () => 'https://['],
  ] as const)('a 302 to %s is not followed: credentials stay here', async ([, location]) => {
    const certificate = makeCertificate(temporaryFolder(), 'pool');
    const at = await scene(SIZE, { certificate });
    at.disks.instead = () => redirect(location(at.pool.port));
    const error = await thrownBy(at.upload({ connect: { trust: { caFile: certificate.file } } }));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the server sends us somewhere where no credentials may go',
    });
    expect(at.pool.requests.filter(({ path }) => path === '/import_raw_vdi')).toHaveLength(1);
    await expectUndone(at);
  });

  test('a 302 to a host with a certificate of its own: its fingerprint is given beside the other', async () => {
    const folder = temporaryFolder();
    const [master, host] = [makeCertificate(folder, 'master'), makeCertificate(folder, 'host')];
    const at = await scene(SIZE, { certificate: master });
    // The other host of the pool: another certificate in front of the same disks.
    const front = await startReplay({ certificate: host });
    front.intercept = (request, response) => at.pool.intercept?.(request, response) === true;
    at.disks.instead = (request) =>
      request.headers.host?.endsWith(`:${at.pool.port}`) === true
        ? redirect(`${front.url}/import_raw_vdi`)
        : undefined;
    const [one, both] = [[master.fingerprint], [master.fingerprint, host.fingerprint]];
    const error = await thrownBy(at.upload({ connect: { trust: { fingerprint: one } } }));
    expect(error).toMatchObject({
      message: 'the server could not be trusted: its certificate is another one',
      context: { path: front.url, found: host.fingerprint, expected: master.fingerprint },
      hint: expect.stringContaining('--fingerprint may be given once for each') as string,
    });
    // Not a word went to it: no session, no VDI, no byte.
    expect(front.requests).toEqual([]);
    await expectUndone(at);
    const { vdi } = await at.upload({ connect: { trust: { fingerprint: both } } });
    expect(at.disks.contents.get(vdi.ref)?.length).toBeGreaterThan(SIZE);
  });

  test('a 302 to a host with another certificate is not trusted', async () => {
    const folder = temporaryFolder();
    const certificate = makeCertificate(folder, 'pool');
    const at = await scene(SIZE, { certificate });
    const stranger = await scene(SIZE, { certificate: makeCertificate(folder, 'stranger') });
    at.disks.instead = () => redirect(`${stranger.pool.url}/import_raw_vdi`);
    const error = await thrownBy(at.upload({ connect: { trust: { caFile: certificate.file } } }));
    expect(error).toMatchObject({ kind: 'sink', message: 'the server could not be trusted' });
    expect(stranger.pool.requests).toEqual([]);
    await expectUndone(at);
  });

  test('a 302 that leads in a circle ends', async () => {
    const at = await scene(SIZE);
    at.disks.instead = () => redirect(`${at.pool.url}/import_raw_vdi`);
    expect(await thrownBy(at.upload())).toMatchObject({ kind: 'sink' });
    expect(at.pool.requests.filter(({ path }) => path === '/import_raw_vdi')).toHaveLength(3);
    await expectUndone(at);
  });

  test.for(['401 Unauthorised', '403 Forbidden', '400 Bad Request', '500 Internal Server Error'])(
    '"After a 401, 403, 400 or 500 instead of 200, do not wait for the task": %s',
    async (status) => {
      const at = await scene(SIZE);
      at.disks.instead = () => errorPage(status);
      const error = await thrownBy(at.upload());
      expect(error).toMatchObject({ kind: 'sink', leftBehind: 'nothing: the VDI was destroyed' });
      expect(wordsOf(error)).toContain(status);
      expect(importOf(at).received).toBe(0);
      await expectUndone(at);
    },
  );

  test('a task that never ends: given up with a clear error, cancelled, and the VDI destroyed', async () => {
    const at = await scene(SIZE);
    at.disks.finish = () => undefined;
    const timeouts = { ...TIMEOUTS, stall: 300 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    expect(error).toMatchObject({
      kind: 'sink',
      message: 'the task does not go on: PUT /import_raw_vdi',
      leftBehind: 'nothing: the VDI was destroyed',
    });
    expect(at.pool.callsOf('task.cancel')).toHaveLength(1);
    expectUndoneButComplete(at);
  });

  test('a host that stops reading: given up', async () => {
    const at = await scene(24 * MIB);
    at.disks.during = ({ stopReading }) => {
      stopReading();
      return false;
    };
    const timeouts = { ...TIMEOUTS, stall: 500, farewell: 500 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    expect(error).toMatchObject({ kind: 'sink', message: 'the output does not take any more' });
    expect(at.pool.tables.VDI.size).toBe(0);
  });

  test('a task that fails while the connection stands and nothing is read', async () => {
    const at = await scene(24 * MIB);
    at.disks.during = ({ stopReading, task }) => {
      stopReading();
      Object.assign(task, { status: 'failure', error_info: ['SR_FULL', '1', '2'] });
      return false;
    };
    expect(await thrownBy(at.upload())).toMatchObject(hasCode('SR_FULL'));
    expect(at.pool.tables.VDI.size).toBe(0);
  });
});

describe('the disk', () => {
  test.for([
    ['cslg', 'cslg', {}],
    ['LVM without VHD', 'lvmoiscsi', {}],
    ['thick EqualLogic', 'equal', { allocation: 'thick' }],
  ] as const)(
    '"SRs that do not hand out zeroed disks […] cannot take VHD at all; raw works": %s',
    async ([, type, config]) => {
      const at = await scene(SIZE);
      changeSr(at.pool, 'Local storage', { type, sm_config: config });
      const { build } = await at.upload();
      expect(build.format).toBe('raw');
      expect(importOf(at).query.get('format')).toBe('raw');
      expect(await thrownBy(at.upload({ format: 'vhd' }))).toMatchObject({
        kind: 'usage',
        message: 'that storage repository cannot take a VHD',
      });
      // The judge can fail: such an SR really does not take one.
      changeSr(at.pool, 'Local storage', { type: 'file' });
      at.disks.during = () => {
        changeSr(at.pool, 'Local storage', { type });
        return false;
      };
      expect(await thrownBy(at.upload())).toMatchObject(hasCode('VDI_IO_ERROR'));
    },
  );

  test.for([
    ['lvm', { use_vhd: 'true' }],
    ['equal', { allocation: 'thin' }],
    ['nfs', {}],
    ['ext', {}],
  ] as const)('%s with %j takes VHD', async ([type, config]) => {
    const at = await scene(SIZE);
    changeSr(at.pool, 'Local storage', { type, sm_config: config });
    expect((await at.upload()).build.format).toBe('vhd');
  });

  test('is as large as the SR has rounded it: what VDI.virtual_size says is what the image has', async () => {
    const at = await scene(SIZE);
    at.disks.roundBytes = 32 * MIB;
    const { vdi, build } = await at.upload();
    expect([vdi.virtualSize, build.virtualSize]).toEqual([32 * MIB, 32 * MIB]);
    const image = join(at.folder, 'image.vhd');
    writeFileSync(image, at.disks.contents.get(vdi.ref) ?? '');
    await expectPatchDisk(image, 'vhd', at.file, 32 * MIB);
  });

  test('of an odd size gets an image that fits into it', async () => {
    const at = await scene(SIZE);
    at.disks.roundBytes = 23 * MIB;
    const { vdi, build } = await at.upload();
    expect([vdi.virtualSize, build.virtualSize]).toEqual([23 * MIB, 22 * MIB]);
  });

  test('that is said to be absurdly large gets the image that was wanted', async () => {
    const at = await scene(SIZE);
    at.disks.roundBytes = 2 ** 52;
    const { vdi, build } = await at.upload();
    expect([vdi.virtualSize, build.virtualSize]).toEqual([2 ** 52, DISK]);
  });

  test('that is smaller than what was asked for is refused, and destroyed', async () => {
    const at = await scene(SIZE);
    const create = at.pool.answers.get('VDI.create');
    at.pool.answers.set('VDI.create', (params) => {
      const ref = create?.(params);
      Object.assign(at.pool.tables.VDI.get(String(ref)) ?? {}, { virtual_size: DISK - 2 * MIB });
      return ref;
    });
    expect(await thrownBy(at.upload())).toMatchObject({
      kind: 'sink',
      message: 'the pool has made a smaller VDI than it was asked for',
    });
    expect(at.pool.requests.some(({ path }) => path === '/import_raw_vdi')).toBe(false);
    await expectUndone(at);
  });

  test('that stays in use for a while after a broken import is destroyed all the same', async () => {
    const at = await scene(SIZE);
    at.disks.busyMilliseconds = 200;
    at.disks.finish = (running) => fail(running, 'VDI_IO_ERROR');
    expect(await thrownBy(at.upload())).toMatchObject({ leftBehind: 'nothing: the VDI was destroyed' });
    expect(at.pool.tables.VDI.size).toBe(0);
  });

  test('that cannot be destroyed is named', async () => {
    const at = await scene(SIZE);
    at.disks.busyMilliseconds = 60_000;
    at.disks.during = ({ socket, received }) => {
      if (received > MIB) socket.resetAndDestroy();
      return received > MIB;
    };
    const timeouts = { ...TIMEOUTS, farewell: 200 };
    const error = await thrownBy(at.upload({ connect: { timeouts } }));
    const [[, vdi] = ['', undefined]] = at.pool.tables.VDI;
    const { leftBehind } = error as { leftBehind: string };
    expect(leftBehind).toContain(String(vdi?.['uuid']));
    expect(leftBehind).toContain('VDI_IN_USE');
    // It says of itself that it was never finished.
    expect(Object.keys(vdi?.['other_config'] as object)).toEqual(['patch-vdi:upload']);
  });

  test('whose reference is lost with the answer of VDI.create is found by its mark, and destroyed', async () => {
    const at = await scene(SIZE);
    const create = at.pool.answers.get('VDI.create');
    at.pool.answers.set('VDI.create', (params) => {
      create?.(params);
      for (const socket of at.pool.sockets) socket.destroy();
      return '';
    });
    const error = await thrownBy(at.upload());
    expect(error).toMatchObject({ kind: 'sink', leftBehind: 'nothing: the VDI was destroyed' });
    // It is never made again.
    expect(at.pool.callsOf('VDI.create')).toHaveLength(1);
    expect(at.pool.callsOf('VDI.destroy')).toHaveLength(1);
    expect(at.pool.tables.VDI.size).toBe(0);
  });
});

test('"A task’s `progress` runs from 0 to 1": what a pool says beside that is shown as that', async () => {
  const at = await scene(SIZE);
  const said = [-3, 0.25, 1e300, 2e300];
  const shown: number[] = [];
  at.disks.finish = (running) => {
    const steps = setInterval(() => {
      const progress = said.shift();
      if (progress !== undefined) return void (running.task['progress'] = progress);
      clearInterval(steps);
      succeed(running);
    }, 20);
  };
  const watch = { sent: () => undefined, waiting: (fraction: number) => void shown.push(fraction) };
  await at.upload({ watch });
  expect(shown[0]).toBe(0);
  expect(shown.every((fraction) => fraction >= 0 && fraction <= 1)).toBe(true);
  expect(shown.at(-1)).toBe(1);
});

test('a task whose progress grows beyond its end stands still', async () => {
  const at = await scene(SIZE);
  at.disks.finish = ({ task }) => {
    const steps = setInterval(() => (task['progress'] = Number(task['progress']) + 1), 20);
    onTestFinished(() => clearInterval(steps));
  };
  const timeouts = { ...TIMEOUTS, stall: 1000 };
  expect(await thrownBy(at.upload({ connect: { timeouts } }))).toMatchObject({
    kind: 'sink',
    context: { found: expect.stringContaining('at 100 %') as string },
  });
});

test('what is told on the way: bytes of the image that went out, all of them, and then the wait', async () => {
  const at = await scene(SIZE);
  const told: string[] = [];
  let last = 0;
  const watch = {
    sent: (bytes: number, totalBytes: number) => {
      expect(bytes).toBeGreaterThan(last);
      last = bytes;
      told.push(`sent of ${totalBytes}`);
    },
    waiting: () => void told.push('waiting'),
  };
  const { build } = await at.upload({ format: 'raw', watch });
  expect(last).toBe(DISK);
  expect([...new Set(told)]).toEqual([`sent of ${build.outputLength}`, 'waiting']);
  expect(told.lastIndexOf(`sent of ${DISK}`)).toBeLessThan(told.indexOf('waiting'));
});

test('"HOST_IS_SLAVE" in the middle: the pool has got another master; nothing stays, and the new one is named', async () => {
  const at = await scene(SIZE);
  at.pool.answers.set('task.create', () => {
    throw new ReplayError('HOST_IS_SLAVE', '10.0.0.2');
  });
  expect(await thrownBy(at.upload())).toMatchObject({
    ...hasCode('HOST_IS_SLAVE'),
    parameters: ['10.0.0.2'],
    leftBehind: 'nothing: the VDI was destroyed',
  });
  await expectUndone(at);
});

test('a task whose reference is lost with the answer of task.create is destroyed, and the VDI too', async () => {
  const at = await scene(SIZE);
  at.pool.answers.set('task.create', (params) => {
    at.pool.answers.delete('task.create');
    at.pool.call('task.create', params);
    for (const socket of at.pool.sockets) socket.destroy();
    return '';
  });
  expect(await thrownBy(at.upload())).toMatchObject({
    kind: 'sink',
    leftBehind: 'nothing: the VDI was destroyed',
  });
  await expectUndone(at);
});

/** An image whose last byte went out is whole: then it is the VDI that must be gone. */
function expectUndoneButComplete({ pool }: Scene): void {
  expect([...pool.tables.VDI.keys()]).toEqual([]);
  expect([...pool.tables.task.keys()]).toEqual([]);
}
