/*
 * Every way in which a server can give, refuse or lose an upload, over one pair of servers: long, as the list is.
 */
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { beforeEach, describe, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { makeZip } from '../io/zips.js';
import { mustBuild, runCli, startCli, type Ended, type RunOptions } from './cli.js';
import { serve, serveRaw, serveSecurely } from './http-servers.js';
import { expectNoOutput } from './judges/nothing-usable.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { GIB, MIB, uploadBytes } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

const UPLOAD = uploadBytes(3 * MIB + 17);

beforeEach((context) => requireImageJudges(context));

const send = (_request: IncomingMessage, response: ServerResponse): void => {
  response.writeHead(200, { 'content-length': UPLOAD.length }).end(UPLOAD);
};

async function refused(
  work: Workspace,
  url: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Ended> {
  const command = ['build', url, '-o', work.output('x.vhd'), '--allow-unsigned', ...args];
  const ended = await runCli(work, command, options);
  expect(ended.exitCode, ended.stderr).not.toBe(0);
  expectNoOutput(work);
  return ended;
}

async function refusedUpload(url: string, args: readonly string[] = []): Promise<string> {
  const { exitCode, stderr } = await refused(workspace(), url, args);
  expect(exitCode, stderr).toBe(4);
  return stderr.replaceAll(/\s+/g, ' ');
}

describe('uploads by URL', () => {
  test.for(FORMATS)('with a length, into a %s', async (format) => {
    const work = workspace();
    const origin = await serve(send);
    const image = work.output(`x.${format}`);
    await mustBuild(work, [`${origin}/patch`, '-o', image, '--allow-unsigned']);
    await expectPatchDisk(image, format, work.input('upload', UPLOAD), 16 * MIB);
  });

  test('without a length it is as from a pipe', async () => {
    const work = workspace();
    const origin = await serve((_, response) => {
      response.write(UPLOAD.subarray(0, MIB));
      response.end(UPLOAD.subarray(MIB));
    });
    const image = work.output('x.vhd');
    await mustBuild(work, [`${origin}/patch`, '-o', image, '--allow-unsigned']);
    await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 4 * GIB);
    const announced = work.output('y.vhd');
    const length = ['--content-length', String(UPLOAD.length)];
    await mustBuild(work, [`${origin}/patch`, '-o', announced, '--allow-unsigned', ...length]);
    await expectPatchDisk(announced, 'vhd', work.input('upload', UPLOAD), 16 * MIB);
  });

  test('a server of HTTP/1.0 that just closes', async () => {
    const work = workspace();
    const origin = await serveRaw((socket) => {
      socket.write('HTTP/1.0 200 OK\r\n\r\n');
      socket.end(UPLOAD);
    });
    const image = work.output('x.vhd');
    await mustBuild(work, [`${origin}/patch`, '-o', image, '--allow-unsigned']);
    await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 4 * GIB);
  });

  test('plan asks for the length only', async () => {
    const work = workspace();
    const origin = await serve(send);
    const { exitCode, stdout } = await runCli(work, ['plan', origin, '--format', 'vhd', '--json']);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ payloadLength: UPLOAD.length });
  });

  test('the request says what we take', async () => {
    const work = workspace();
    let head = '';
    const origin = await serveRaw((socket, text) => {
      head = text;
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc`);
    });
    const header = ['--header', 'X-Token: one two', '--header', 'Accept:text/plain'];
    await mustBuild(work, [
      `${origin}/a%20b?c=d#e`,
      '-o',
      work.output('x.raw'),
      '--allow-unsigned',
      ...header,
    ]);
    expect(head).toMatch(/^GET \/a%20b\?c=d HTTP\/1\.1\r\n/);
    expect(head.toLowerCase()).toContain('\r\naccept-encoding: identity\r\n');
    expect(head).toContain('\r\nX-Token: one two\r\n');
    expect(head).toContain('\r\nAccept: text/plain\r\n');
  });
});

describe('redirects', () => {
  const redirect =
    (location: string, status = 302) =>
    (_: IncomingMessage, response: ServerResponse) =>
      void response.writeHead(status, { location }).end('elsewhere');

  test.for([301, 302, 303, 307, 308])('%i is followed, to a relative place, too', async (status) => {
    const work = workspace();
    const origin = await serve((request, response) => {
      if (request.url === '/a/b') redirect('../c?d', status)(request, response);
      else if (request.url === '/c?d') send(request, response);
      else response.writeHead(404).end();
    });
    const image = work.output('x.vhd');
    await mustBuild(work, [`${origin}/a/b`, '-o', image, '--allow-unsigned']);
    await expectPatchDisk(image, 'vhd', work.input('upload', UPLOAD), 16 * MIB);
  });

  test('ten are followed, not eleven', async () => {
    const work = workspace();
    const origin = await serve((request, response) => {
      const left = Number(request.url?.slice(1));
      if (left === 0) send(request, response);
      else redirect(`/${left - 1}`)(request, response);
    });
    await mustBuild(work, [`${origin}/10`, '-o', work.output('x.vhd'), '--allow-unsigned']);
    expect(await refusedUpload(`${origin}/11`)).toContain('redirects without end');
  });

  test('a loop', async () => {
    const origin = await serve(redirect('/again'));
    expect(await refusedUpload(origin)).toContain('more than 10 redirects');
  });

  test('what was given for one origin does not go to another', async () => {
    const work = workspace();
    const seen: IncomingMessage['headers'][] = [];
    const other = await serve((request, response) => {
      seen.push(request.headers);
      send(request, response);
    });
    const origin = await serve((request, response) => {
      seen.push(request.headers);
      if (request.url === '/1') redirect('/2')(request, response);
      else redirect(`${other}/3`)(request, response);
    });
    const given = ['Authorization: Bearer s3cr3t-token', 'Cookie: session=s3cr3t', 'X-Auth: s3cr3t'];
    await mustBuild(work, [
      `${origin}/1`,
      '-o',
      work.output('x.vhd'),
      '--allow-unsigned',
      ...given.flatMap((header) => ['--header', header]),
    ]);
    expect(seen.map(({ authorization, cookie, 'x-auth': own }) => [authorization, cookie, own])).toEqual([
      ['Bearer s3cr3t-token', 'session=s3cr3t', 's3cr3t'],
      ['Bearer s3cr3t-token', 'session=s3cr3t', 's3cr3t'],
      [undefined, undefined, undefined],
    ]);
    const url = `${origin.replace('//', '//user:p%40ss@')}/1`;
    seen.length = 0;
    await mustBuild(work, [url, '-o', work.output('y.vhd'), '--allow-unsigned']);
    const basic = `Basic ${Buffer.from('user:p@ss').toString('base64')}`;
    expect(seen.map(({ authorization }) => authorization)).toEqual([basic, basic, undefined]);
  });

  test('elsewhere than to http(s), or to nowhere', async () => {
    expect(await refusedUpload(await serve(redirect('file:///etc/passwd')))).toContain('file:///etc/passwd');
    expect(await refusedUpload(await serve(redirect('http://[')))).toContain('no URL');
    const nowhere = await serve((_, response) => void response.writeHead(302).end('lost'));
    expect(await refusedUpload(nowhere)).toContain('302 Found: lost');
  });

  test('from https to http is refused; https needs a trusted certificate', async (context) => {
    requireTool(context, 'openssl');
    const work = workspace();
    const plain = await serve(send);
    const { origin, certificate } = await serveSecurely(work, (request, response) => {
      if (request.url === '/down') redirect(plain)(request, response);
      else send(request, response);
    });
    const trusted = { env: { NODE_EXTRA_CA_CERTS: certificate } };
    await mustBuild(work, [origin, '-o', work.output('ok.vhd'), '--allow-unsigned'], trusted);
    await expectPatchDisk(work.output('ok.vhd'), 'vhd', work.input('upload', UPLOAD), 16 * MIB);

    const other = workspace();
    const down = await refused(other, `${origin}/down`, [], trusted);
    expect(down.exitCode).toBe(4);
    expect(down.stderr).toContain('redirects away from https');
    const unknown = await refused(other, origin);
    expect(unknown.exitCode).toBe(4);
    expect(unknown.stderr).toContain('the server could not be trusted');
    expect(unknown.stderr).toContain('NODE_EXTRA_CA_CERTS');
    const notTls = await refused(other, plain.replace('http:', 'https:'));
    expect(notTls.exitCode).toBe(4);
  });
});

describe('answers that are no upload', () => {
  test('another status, with the start of what the server says', async () => {
    const origin = await serve((_, response) => {
      response.writeHead(404, 'Not There').end(`<h1>no\u001b[31m such\n\n file</h1>${'x'.repeat(10_000)}`);
    });
    const stderr = await refusedUpload(origin);
    expect(stderr).toContain('404 Not There: <h1>no\\x1b[31m such file</h1>xxx');
    expect(stderr.length).toBeLessThan(1500);
  });

  test('nothing, or a part of it', async () => {
    for (const status of [204, 206]) {
      const origin = await serve((_, response) => void response.writeHead(status).end());
      expect(await refusedUpload(origin)).toContain(`${status} `);
    }
  });

  test('compressed on the way', async () => {
    const origin = await serve((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('x');
    });
    expect(await refusedUpload(origin)).toContain('Content-Encoding gzip');
  });

  test('another length than announced on the command line', async () => {
    const origin = await serve(send);
    const { exitCode, stderr } = await refused(workspace(), origin, ['--content-length', '5']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(`${UPLOAD.length} bytes`);
  });

  test('an empty one', async () => {
    const origin = await serve((_, response) => void response.writeHead(200, { 'content-length': 0 }).end());
    expect(await refusedUpload(origin)).toContain('the upload is empty');
  });

  test('a ZIP archive', async (context) => {
    requireTool(context, 'zip');
    const zip = makeZip({ 'a.xsupdate': 'x' });
    const origin = await serve((_, response) => void response.end(zip));
    expect(await refusedUpload(origin)).toContain('save it and name the file');
  });

  test('an answer that is no HTTP', async () => {
    const origin = await serveRaw((socket) => socket.end('220 ftp.example.org ready\r\n'));
    expect(await refusedUpload(origin)).toContain('could not be fetched');
    const lengths = await serveRaw((socket) => {
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n`);
    });
    expect(await refusedUpload(lengths)).toMatch(/unusable length|could not be fetched/);
  });

  test('nobody is there', async () => {
    expect(await refusedUpload('http://127.0.0.1:1/')).toContain('ECONNREFUSED');
    expect(await refusedUpload('http://no-such-host.invalid/')).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });
});

describe('bodies that break', () => {
  const head = (length: number): string => `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`;

  test('shorter than announced', async () => {
    const origin = await serveRaw((socket) => {
      socket.write(head(UPLOAD.length + 1));
      socket.end(UPLOAD);
    });
    const stderr = await refusedUpload(origin);
    expect(stderr).toContain('the upload broke off');
    expect(stderr).toContain(`${UPLOAD.length} of ${UPLOAD.length + 1} bytes came`);
  });

  test('longer than announced', async () => {
    const origin = await serveRaw((socket) => {
      socket.end(Buffer.concat([Buffer.from(head(1000)), UPLOAD.subarray(0, 1001)]));
    });
    expect(await refusedUpload(origin)).toContain('more than it announced');
  });

  test('reset in the middle', async () => {
    const origin = await serveRaw((socket) => {
      socket.write(head(UPLOAD.length));
      socket.write(UPLOAD.subarray(0, MIB), () => setTimeout(() => socket.resetAndDestroy(), 100));
    });
    expect(await refusedUpload(origin)).toMatch(/broke off.*of 3145745 bytes came/);
  });

  test('cut off between chunks', async () => {
    const origin = await serveRaw((socket) => {
      socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
    });
    expect(await refusedUpload(origin)).toMatch(/[05] bytes came/);
  });

  test('a server that stalls: --idle-timeout', async () => {
    const silent = await serveRaw(() => undefined);
    expect(await refusedUpload(silent, ['--idle-timeout', '0.3'])).toContain('the server does not answer');
    const stalling = await serveRaw((socket) => {
      socket.write(head(UPLOAD.length));
      socket.write(UPLOAD.subarray(0, MIB));
    });
    const stderr = await refusedUpload(stalling, ['--idle-timeout', '2']);
    expect(stderr).toContain('the upload does not go on');
    expect(stderr).toContain('nothing for 2 seconds');
    expect(stderr).toContain('offset 1048576');
  });

  test('a slow one is not a stalled one', async () => {
    const work = workspace();
    const origin = await serveRaw((socket) => {
      socket.write(head(20));
      let left = 20;
      const timer = setInterval(() => {
        socket.write('x');
        left -= 1;
        if (left === 0) clearInterval(timer);
      }, 200);
    });
    const args = [origin, '-o', work.output('x.raw'), '--allow-unsigned', '--idle-timeout', '3'];
    await mustBuild(work, args);
  });

  test.for(['before it answers', 'in the middle'])('Ctrl-C while the server is silent: %s', async (when) => {
    const work = workspace();
    let asked: () => void = () => undefined;
    const connected = new Promise<void>((done) => (asked = done));
    const origin = await serveRaw((socket) => {
      if (when === 'in the middle') {
        socket.write(head(UPLOAD.length));
        socket.write(UPLOAD.subarray(0, MIB));
      }
      asked();
    });
    const { child, ended } = startCli(work, [
      'build',
      origin,
      '-o',
      work.output('x.vhd'),
      '--allow-unsigned',
    ]);
    await connected;
    if (when === 'in the middle') await expect.poll(() => work.outputs().length).toBe(1);
    child.kill('SIGINT');
    expect((await ended).exitCode).toBe(130);
    expectNoOutput(work);
  });
});

describe('what is not printed', () => {
  const SECRETS = ['s3cr3t-token', 'pass-w0rd', 'query-t0ken', 'c2VjcmV0'];

  test.for([
    ['a refusal that repeats everything', 403],
    ['success', 200],
  ] as const)('%s', async ([, status]) => {
    const work = workspace();
    const origin = await serve((request, response) => {
      const echo = JSON.stringify(request.headers) + String(request.url) + SECRETS.join(' ');
      response.writeHead(status).end(status === 200 ? 'x' : echo);
    });
    const url = `${origin.replace('//', '//user:pass-w0rd@')}/path?token=query-t0ken`;
    const args = ['build', url, '-o', work.output('x.vhd'), '--allow-unsigned'];
    const header = ['--header', 'X-Token: Bearer s3cr3t-token', '--header', 'X-Other: c2VjcmV0'];
    for (const more of [[], ['--json'], ['--output-header', 'X: s3cr3t-token']]) {
      const env = more.length === 0 ? { NODE_DEBUG: 'patch-vdi' } : {};
      const { stdout, stderr } = await runCli(work, [...args, ...header, ...more], { env });
      for (const secret of SECRETS) expect(stdout + stderr).not.toContain(secret);
      expect(stdout + stderr).not.toContain(Buffer.from('user:pass-w0rd').toString('base64'));
    }
  });

  test.for([
    ['http://user:pass-w0rd@', [], 'no usable URL'],
    ['http://user:%zz@host/pass-w0rd', [], 'no usable URL'],
    ['http://host:pass-w0rd/', [], 'no usable URL'],
    ['http://host/', ['--header', 'pass-w0rd'], 'without a name'],
    ['http://host/', ['--header', 'A b: pass-w0rd'], 'cannot be sent'],
    ['http://host/', ['--header', 'X: pass-w0rd\u0007'], 'cannot be sent'],
    ['http://host/', ['--header', 'X: 1', '--header', 'x: pass-w0rd'], 'twice'],
    ['http://host/', ['--header', 'Content-Length: pass-w0rd'], 'sets itself'],
    ['http://host/', ['--member', 'pass-w0rd'], '--member is for ZIP files'],
    ['upload', ['--header', 'X: pass-w0rd'], '--header is for http(s) URLs'],
    ['http://host/', ['--idle-timeout', 'soon'], 'not a number of seconds'],
    ['http://host/', ['--idle-timeout', '9999999999'], 'idle timeout cannot be used'],
  ] as const)('%s %j is a wrong use', async ([url, args, says]) => {
    const work = workspace();
    const { exitCode, stderr } = await refused(work, url, args);
    expect(exitCode).toBe(2);
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain(says);
    expect(stderr).not.toContain('pass-w0rd');
  });
});

test('memory does not grow with the upload', async (context) => {
  requireTool(context, 'time');
  const work = workspace();
  const block = uploadBytes(MIB);
  const blocks = 512;
  const origin = await serve((_, response) => {
    response.writeHead(200, { 'content-length': blocks * MIB });
    let left = blocks;
    const more = (): void => {
      while (left > 0) {
        left -= 1;
        if (!response.write(block)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
  });
  const peak = `${work.folder}/peak`;
  await mustBuild(work, [origin, '-o', work.output('x.vhd'), '--allow-unsigned'], {
    wrapper: ['/usr/bin/time', '-o', peak, '-f', '%M'],
  });
  // KiB. From a file it takes some 65 MiB.
  expect(Number(readFileSync(peak, 'utf8'))).toBeLessThan(160 * 1024);
});
