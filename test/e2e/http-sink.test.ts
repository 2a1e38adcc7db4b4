/*
 * Every way in which a server can take, refuse or lose an image, over one pair of servers: long, as the list is.
 */
import { copyFileSync, createWriteStream, statSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildPatchImage } from '../../src/index.js';
import { requireTool } from '../oracles/require-tool.js';
import { flip } from '../signature/openpgp-bench.js';
import { mustBuild, runCli, startCli, type Ended } from './cli.js';
import { startFed } from './feeding.js';
import { serve, serveRaw, serveSecurely, serveStore } from './http-servers.js';
import { expectNoOutput, expectUselessOutput } from './judges/nothing-usable.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { makeSigningBench, type SigningBench } from './signed-uploads.js';
import { MIB, uploadBytes, writeUpload } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

let bench: SigningBench;
beforeAll(() => {
  bench = makeSigningBench();
});
afterAll(() => bench.close());
beforeEach((context) => requireImageJudges(context));

const UPLOAD = uploadBytes(5 * MIB + 3);

async function refused(
  url: string,
  args: readonly string[] = [],
  work: Workspace = workspace(),
): Promise<Ended & { words: string }> {
  const upload = work.input('upload', UPLOAD);
  const ended = await runCli(work, ['build', upload, '-o', url, '--allow-unsigned', ...args]);
  expect(ended.exitCode, ended.stderr).toBe(8);
  return { ...ended, words: ended.stderr.replaceAll(/\s+/g, ' ') };
}

describe('an image as the body of a PUT', () => {
  test.for(FORMATS)('%s, by the ending of the path', async (format) => {
    const work = workspace();
    const image = work.output(`stored.${format}`);
    const { origin, puts } = await serveStore(image);
    const header = ['--output-header', 'Authorization: Basic abc', '--output-header', 'X-Sr: 5'];
    const url = `${origin}/vdi.${format}?a=b`;
    await mustBuild(work, [work.input('upload', UPLOAD), '-o', url, '--allow-unsigned', ...header]);
    await expectPatchDisk(image, format, work.input('upload', UPLOAD), 22 * MIB);
    expect(puts).toHaveLength(1);
    expect(puts[0]).toMatchObject({ complete: true, received: statSync(image).size });
    expect(puts[0]?.headers).toMatchObject({
      'content-length': String(statSync(image).size),
      authorization: 'Basic abc',
      'x-sr': '5',
    });
    expect(puts[0]?.headers).not.toHaveProperty('transfer-encoding');
    expect(puts[0]?.headers).not.toHaveProperty('expect');
  });

  test('through a pipe without a length, signed, --format', async () => {
    const work = workspace();
    const image = work.output('stored.vhd');
    const { origin, puts } = await serveStore(image);
    const args = ['-', '-o', `${origin}/vdi`, '--keyring', bench.keyring];
    const stdin = { path: work.input('upload', bench.plain), through: 'pipe' } as const;
    const none = await runCli(work, ['build', ...args], { stdin });
    expect(none.exitCode).toBe(2);
    expect(none.stderr).toContain('the format of the image is not given');
    await mustBuild(work, [...args, '--format', 'vhd', '--size', '64M'], { stdin });
    await expectPatchDisk(image, 'vhd', work.input('upload', bench.plain), 64 * MIB);
    expect(puts).toHaveLength(1);
  });

  test('from one server to another', async () => {
    const work = workspace();
    const image = work.output('stored.vhd');
    const { origin, puts } = await serveStore(image);
    const from = await serve((request, response) => {
      expect(request.headers).toMatchObject({ 'x-from': '1' });
      response.writeHead(200, { 'content-length': UPLOAD.length }).end(UPLOAD);
    });
    await mustBuild(work, [
      ...['--header', 'X-From: 1', '--output-header', 'X-To: 2'].concat(from),
      '-o',
      `${origin}/x.vhd`,
      '--allow-unsigned',
    ]);
    await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 22 * MIB);
    expect(puts[0]?.headers).not.toHaveProperty('x-from');
  });

  test('a server that sends the head of its answer first, as XAPI does', async () => {
    const work = workspace();
    const image = work.output('stored.vhd');
    const { origin } = await serveStore(image, { earlyHead: true });
    await mustBuild(work, [work.input('upload', UPLOAD), '-o', `${origin}/x.vhd`, '--allow-unsigned']);
    await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 22 * MIB);
  });
});

test('through TLS, to a server that is trusted', async (context) => {
  requireTool(context, 'openssl');
  const work = workspace();
  const image = work.output('stored.vhd');
  const { origin, certificate } = await serveSecurely(work, (request, response) => {
    request.pipe(createWriteStream(image)).on('finish', () => response.writeHead(204).end());
  });
  const args = [work.input('upload', UPLOAD), '-o', `${origin}/x.vhd`, '--allow-unsigned'];
  await mustBuild(work, args, { env: { NODE_EXTRA_CA_CERTS: certificate } });
  await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 22 * MIB);
  const { words } = await refused(`${origin}/x.vhd`);
  expect(words).toContain('the server could not be trusted');
});

test('as a library, with objects and with texts', async () => {
  const work = workspace();
  const image = work.output('stored.vhd');
  const { origin } = await serveStore(image);
  const from = await serve((_, response) => void response.end(UPLOAD));
  const shared = { format: 'vhd', verify: { unsigned: true }, contentLength: UPLOAD.length } as const;
  const environment = { temporaryFolder: work.tmp };
  const places = [
    [from, `${origin}/x`],
    [
      { url: from, headers: { 'X-A': '1' } },
      { url: `${origin}/x`, headers: { 'X-B': '2' } },
    ],
  ] as const;
  for (const [source, sink] of places) {
    const result = await buildPatchImage({ ...shared, environment, source, sink });
    expect(result).toMatchObject({ output: `${origin}/x`, spooled: false });
    await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 22 * MIB);
  }
});

describe('the verdict comes before the last byte', () => {
  test.for(FORMATS)('a bad signature: the body of a %s is never complete', async (format) => {
    const work = workspace();
    const stored = work.output('stored');
    const { origin, puts } = await serveStore(stored);
    const upload = work.input('upload', flip(bench.plain, bench.plain.length - 400_000));
    const args = ['build', upload, '-o', `${origin}/x.${format}`, '--keyring', bench.keyring];
    const { exitCode, stderr } = await runCli(work, args);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('BAD signature');
    if (format !== 'vhd') {
      // Spooled and verified before anything is sent.
      expect(puts).toEqual([]);
      return;
    }
    await expect.poll(() => puts[0]?.received).toBeGreaterThan(bench.content.length - MIB);
    const [put] = puts;
    expect(put?.complete).toBe(false);
    expect(put?.received).toBeLessThan(put?.announced ?? 0);
    // As much is missing as holds the superblock, and the footer.
    expect((put?.announced ?? 0) - (put?.received ?? 0)).toBeGreaterThan(512);
    copyFileSync(stored, work.output('copy'));
    await expectUselessOutput(work.output('copy'), 'vhd');
  });

  test('an upload that ends too early', async () => {
    const work = workspace();
    const stored = work.output('stored');
    const { origin, puts } = await serveStore(stored);
    const stdin = { path: work.input('upload', UPLOAD), through: 'pipe' } as const;
    const length = ['--content-length', String(UPLOAD.length + 1)];
    const args = ['build', '-', '-o', `${origin}/x.vhd`, '--allow-unsigned', ...length];
    const { exitCode } = await runCli(work, args, { stdin });
    expect(exitCode).toBe(4);
    expect(puts[0]?.complete).not.toBe(true);
    copyFileSync(stored, work.output('copy'));
    await expectUselessOutput(work.output('copy'), 'vhd');
  });

  test.for(['SIGINT', 'SIGKILL'] as const)('%s in the middle', async (signal) => {
    const work = workspace();
    const stored = work.output('stored');
    const { origin, puts } = await serveStore(stored);
    const args = ['build', '-', '-o', `${origin}/x.vhd`, '--allow-unsigned'];
    const fed = startFed(work, [...args, '--content-length', String(UPLOAD.length)]);
    await fed.send(UPLOAD.subarray(0, 4 * MIB));
    await expect.poll(() => puts[0]?.received ?? 0).toBeGreaterThan(2 * MIB);
    fed.child.kill(signal);
    const { exitCode } = await fed.ended;
    if (signal === 'SIGINT') expect(exitCode).toBe(130);
    await new Promise((done) => setTimeout(done, 100));
    expect(puts[0]?.complete).toBe(false);
    copyFileSync(stored, work.output('copy'));
    await expectUselessOutput(work.output('copy'), 'vhd');
  });
});

const LARGE = 64 * MIB;

describe('servers that refuse', () => {
  test('early, while we are still sending: its words, not EPIPE', async () => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/large`, LARGE);
    for (const close of [true, false]) {
      const origin = await serve((request, response) => {
        response.writeHead(507, 'Full', { connection: close ? 'close' : 'keep-alive' });
        response.end('no space on the \u001b[31mSR');
        if (close) response.on('finish', () => setTimeout(() => request.socket.destroy(), 50));
      });
      const args = ['build', upload, '-o', `${origin}/x.vhd`, '--allow-unsigned'];
      for (let turn = 0; turn < 5; turn += 1) {
        const { exitCode, stderr } = await runCli(work, args);
        const words = stderr.replaceAll(/\s+/g, ' ');
        expect(exitCode, stderr).toBe(8);
        expect(words).toContain('the server does not take the image');
        expect(words).toContain('507 Full: no space on the \\x1b[31mSR');
        expect(words).toContain('incomplete body');
      }
    }
  });

  test('while the source is silent', async () => {
    const work = workspace();
    const origin = await serve((_, response) => void response.writeHead(401).end());
    const args = ['build', '-', '-o', `${origin}/x.vhd`, '--allow-unsigned', '--content-length', '1000000'];
    const fed = startFed(work, args);
    await fed.send(UPLOAD.subarray(0, 1000));
    const { exitCode, stderr } = await fed.ended;
    expect(exitCode).toBe(8);
    expect(stderr).toContain('401');
  });

  test('after the body', async () => {
    const work = workspace();
    const { origin } = await serveStore(work.output('stored'), { status: 500 });
    const { words } = await refused(`${origin}/x.vhd`, [], work);
    expect(words).toContain('500');
    expect(words).toContain('whether it kept that, it did not say');
  });

  test('with a redirect, which is not followed', async () => {
    let asked = 0;
    const origin = await serve((request, response) => {
      asked += 1;
      request.resume();
      request.on('end', () => response.writeHead(302, { location: '/there?token=s3cr3t' }).end());
    });
    const { words, stderr } = await refused(`${origin}/x.vhd`);
    expect(words).toContain(`Location ${origin}/there?…`);
    expect(words).toContain('a PUT is not sent twice');
    expect(stderr).not.toContain('s3cr3t');
    expect(asked).toBe(1);
  });

  test('with a good answer, before they have everything', async () => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/large`, LARGE);
    const origin = await serve((_, response) => void response.writeHead(200).end('thanks'));
    const args = ['build', upload, '-o', `${origin}/x.vhd`, '--allow-unsigned'];
    const { exitCode, stderr } = await runCli(work, args);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('the server answered before it had everything');
  });

  test('by closing, at once or in the middle, with or without a reset', async () => {
    for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
      for (const after of [0, 3 * MIB]) {
        const origin = await serveRaw((socket) => {
          let received = 0;
          const act = (): void => void socket[how]();
          if (after === 0) act();
          socket.on('data', (bytes: Buffer) => {
            received += bytes.length;
            if (received >= after) act();
          });
          socket.resume();
        });
        const { words } = await refused(`${origin}/x.vhd`);
        expect(words).toMatch(/the connection to the server broke|went away/);
      }
    }
  });

  test('by closing after the last byte, without an answer', async () => {
    const origin = await serveRaw((socket, head) => {
      const announced = Number(/content-length: (\d+)/i.exec(head)?.[1]);
      let received = head.length - head.indexOf('\r\n\r\n') - 4;
      socket.on('data', (bytes: Buffer) => {
        received += bytes.length;
        if (received >= announced) socket.end();
      });
      socket.resume();
    });
    const { words } = await refused(`${origin}/x.vhd`);
    expect(words).toContain('the connection to the server broke');
    expect(words).toContain('whether it kept that, it did not say');
  });

  test('nobody is there, or something else than HTTP', async () => {
    expect((await refused('http://127.0.0.1:1/x.vhd')).words).toContain('ECONNREFUSED');
    const origin = await serveRaw((socket) => void socket.write('220 ftp.example.org ready\r\n'));
    expect((await refused(`${origin}/x.vhd`)).words).toMatch(/connection to the server broke.*Parse Error/);
  });

  test('that never read, or never answer: --idle-timeout', async () => {
    const work = workspace();
    const upload = writeUpload(`${work.folder}/large`, LARGE);
    const deaf = await serveRaw(() => undefined);
    const args = ['build', upload, '-o', `${deaf}/x.vhd`, '--allow-unsigned', '--idle-timeout', '0.5'];
    const { exitCode, stderr } = await runCli(work, args);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('the output does not take any more');
    const mute = await serve((request) => void request.resume());
    const unanswered = await refused(`${mute}/x.vhd`, ['--idle-timeout', '2']);
    expect(unanswered.words).toContain('the output does not take any more');
  });

  test('Ctrl-C while the server is silent', async () => {
    const work = workspace();
    let complete = false;
    const mute = await serve((request) => {
      request.resume();
      request.on('end', () => (complete = true));
    });
    const upload = work.input('upload', UPLOAD);
    const { child, ended } = startCli(work, ['build', upload, '-o', `${mute}/x.vhd`, '--allow-unsigned']);
    await expect.poll(() => complete).toBe(true);
    child.kill('SIGINT');
    expect((await ended).exitCode).toBe(130);
    expectNoOutput(work);
  });
});
