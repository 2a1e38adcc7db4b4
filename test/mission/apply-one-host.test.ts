/*
 * The mission's sentences on applying, against a server that was started for real: curl uploads, Python's XML-RPC
 * client and our own command line apply. Each test has the sentence that it is about.
 */
import { chmodSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { runCli, startCli, type Ended } from '../e2e/cli.js';
import { requireHost } from '../host/host-bench.js';
import { requireTool } from '../oracles/require-tool.js';
import { scriptPatch } from '../pool/apply-bench.js';
import { samplePatch, sha256, type SamplePatch } from '../pool/test-pool.js';
import { workspace } from '../e2e/workspace.js';
import { expectUnmounted } from './remains.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => {
  requireHost(context);
  requireTool(context, 'curl', 'python3');
});

async function upload(served: ServedPool, patch: SamplePatch): Promise<string> {
  const file = served.work.input('hotfix.xsupdate', patch.bytes);
  const put = await served.curl('-f', '-T', file, '/pool_patch_upload');
  expect(put).toMatchObject({ exitCode: 0, stderr: '' });
  return put.stdout.trim();
}

/** `patch-vdi pool …` as root. */
function pool(served: ServedPool, ...args: readonly string[]): Promise<Ended> {
  const trust = ['--url', served.url, '--ca-file', served.certificate];
  return runCli(served.work, ['pool', ...args, ...trust], { env: { PATCH_VDI_PASSWORD: served.password } });
}

/** The disks and temporary files that belong to no patch. */
function strangers(served: ServedPool, disks: number): void {
  const names = served.files();
  expect(names.filter((name) => name.endsWith('.raw'))).toHaveLength(disks);
  expect(names.filter((name) => name.startsWith('tmp/'))).toEqual([]);
}

const text = (value: string): string => JSON.stringify(value);

describe('"When a host wishes to apply a patch it will call `VDI.copy` to duplicate the VDI to a locally-accessible SR, mount the filesystem and execute it."', () => {
  test('`VDI.copy` […] to a locally-accessible SR: while it runs there is a second disk, afterwards there is none', async () => {
    const served = await ServedPool.start({
      repositories: [
        '- {name_label: patches, path: sr-patches, capabilities: [VDI_CREATE, VDI_DELETE], default: true, shared: true}',
        '- {name_label: local, path: sr-local, capabilities: [VDI_CREATE, VDI_DELETE]}',
      ],
    });
    const [go, began] = [join(served.work.folder, 'go'), join(served.work.folder, 'began')];
    const apply = `touch ${began}; while [ ! -e ${go} ]; do sleep 0.05; done; echo ran as $(id -u) from $(stat -f -c %T .)`;
    const ref = await upload(served, await scriptPatch({ apply }));
    const applying = served.python(
      'host = call("host.get_all")[0]',
      `print(call("pool_patch.apply", ${text(ref)}, host), end="")`,
    );
    await expect.poll(() => existsSync(began)).toBe(true);
    const disks = (sr: string): string[] =>
      readdirSync(join(served.work.folder, sr)).filter((name) => name.endsWith('.raw'));
    expect([disks('sr-patches').length, disks('sr-local').length]).toEqual([1, 1]);
    // The mount is nobody else's.
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(served.work.folder);
    writeFileSync(go, '');
    expect(await applying).toBe('ran as 0 from ext2/ext3');
    expect([disks('sr-patches').length, disks('sr-local').length]).toEqual([1, 0]);
    await expectUnmounted(served);
  });

  test('execute it: "the output is the call\'s result", a host_patch, the applied folder, pool_applied; npm xen-api sees it', async () => {
    const served = await ServedPool.start();
    const xapi = await served.xenApi();
    const patch = await samplePatch('execute', 5 * MIB, { guidance: ['restartHVM'] });
    const ref = await upload(served, patch);
    const said = await served.python(
      'host = call("host.get_all")[0]',
      `print(call("pool_patch.precheck", ${text(ref)}, host))`,
      `print(call("pool_patch.apply", ${text(ref)}, host))`,
      `record = call("pool_patch.get_record", ${text(ref)})`,
      'print(record["pool_applied"], record["after_apply_guidance"])',
      'patch = call("host_patch.get_record", record["host_patches"][0])',
      'print(patch["applied"], patch["host"] == host, call("host.get_patches", host) == record["host_patches"])',
      `try: call("pool_patch.apply", ${text(ref)}, host)`,
      'except Failure as failure: print(failure.args[0])',
      `try: call("pool_patch.destroy", ${text(ref)})`,
      'except Failure as failure: print(failure.args[0])',
    );
    expect(said).toContain(`applied ${patch.uuid}`);
    expect(said.split('\n').slice(-4)).toEqual([
      "True ['restartHVM']",
      'True True True',
      'PATCH_ALREADY_APPLIED',
      'PATCH_IS_APPLIED',
    ]);
    expect(readdirSync(join(served.state, 'applied'))).toEqual([patch.uuid]);
    await xapi.barrier();
    expect(xapi.getObjectByRef(ref)).toMatchObject({ pool_applied: true });
    strangers(served, 1);
    await expectUnmounted(served);
  });

  test('the Async form: a task with progress, whose result is the output', async () => {
    const served = await ServedPool.start();
    const ref = await upload(served, await scriptPatch({ apply: `echo '<a> & "b"'` }));
    const said = await served.python(
      'import time',
      'host = call("host.get_all")[0]',
      `task = call("Async.pool_patch.apply", ${text(ref)}, host)`,
      'while call("task.get_status", task) == "pending": time.sleep(0.05)',
      'record = call("task.get_record", task)',
      'print(record["status"], record["progress"], record["result"])',
    );
    expect(said).toBe('success 1.0 <value>&lt;a&gt; &amp; &quot;b&quot;\n</value>');
  });
});

test('"If the patch is still in the master\'s dom0 filesystem then it will fall back to the HTTP handler."', async () => {
  const served = await ServedPool.start();
  expect(await served.stop()).toBe(0);
  const patch = await samplePatch('in dom0', 3 * MIB);
  const file = join(served.state, 'patches', 'hotfix.xsupdate');
  writeFileSync(file, patch.bytes);
  writeFileSync(join(served.state, 'patches', 'README'), 'not a patch');
  await served.start();
  // A file without a record got one; another one is named in the log, and nothing else.
  const recovered = served.log.find(({ msg }) => msg === 'recovered');
  expect(recovered).toMatchObject({
    adoptedFiles: [patch.uuid],
    refusedFiles: [expect.stringMatching(/^README: /)],
  });
  const got = await served.send('GET', `/pool_patch_download?uuid=${patch.uuid}`);
  expect([got.status, sha256(got.body)]).toEqual([200, patch.sha256]);
  const { exitCode, stdout, stderr } = await pool(served, 'apply', patch.uuid);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toContain(`applied ${patch.uuid}`);
  expect(sha256(readFileSync(file))).toBe(patch.sha256);
  strangers(served, 0);
  await expectUnmounted(served);
});

test('"There must be enough free space in an SR connected to the host to be able to apply a patch on that host."', async () => {
  const served = await ServedPool.start({
    repositories: [
      '- {name_label: small, path: sr-small, capabilities: [VDI_CLONE], default: true, quota: 20M}',
    ],
  });
  const patch = await samplePatch('no space', 4 * MIB);
  await upload(served, patch);
  const { exitCode, stderr } = await pool(served, 'apply', patch.uuid);
  expect(exitCode).toBe(5);
  expect(stderr).toContain('there is not enough space on the server');
  expect(
    readdirSync(join(served.work.folder, 'sr-small')).filter((name) => name.endsWith('.raw')),
  ).toHaveLength(1);
});

test('"we can use spare space in the VDI as temporary scratch space during the patch application process": all but the upload', async () => {
  const served = await ServedPool.start();
  // 24 MiB of disk; 6 of them are the upload, 6 its clear text, 6 are unpacked.
  const patch = await samplePatch('scratch', 6 * MIB, { scratchBytes: 2 * MIB });
  await upload(served, patch);
  const { exitCode, stdout } = await pool(served, 'apply', patch.uuid);
  expect(exitCode).toBe(0);
  expect(stdout).toContain('wrote 2097152 bytes of scratch: right');
});

describe('the command line', () => {
  test('precheck, apply and pool-apply: what they say, and their exit codes', async () => {
    const served = await ServedPool.start();
    const patch = await scriptPatch({
      name: 'XS62ESP1',
      guidance: 'restartHost',
      precheck: 'echo fits',
      apply: `printf 'done \\033[2J <&>\\n'`,
    });
    await upload(served, patch);
    const asked = await pool(served, 'precheck', 'XS62ESP1');
    expect(asked).toMatchObject({ exitCode: 0, stderr: '' });
    expect(asked.stdout).toMatch(/^the precheck lets it pass; nothing was changed\n[^]*output {2}fits\n$/);
    const applied = await pool(served, 'apply', 'XS62ESP1');
    expect(applied).toMatchObject({ exitCode: 0, stderr: '' });
    expect(applied.stdout).toMatch(/^applied\n[^]*to do +restart the host\n +output +done \S+\[2J <&>\n$/);
    expect(applied.stdout).not.toContain('\u001b');
    const again = await pool(served, 'apply', 'XS62ESP1', '--json');
    expect(again.exitCode).toBe(1);
    expect(JSON.parse(again.stdout)).toMatchObject({
      ok: false,
      error: { exitCode: 1, found: expect.stringMatching(/^PATCH_ALREADY_APPLIED/) },
    });
    const all = await pool(served, 'pool-apply', patch.uuid, '--json');
    expect(JSON.parse(all.stdout)).toMatchObject({
      ok: true,
      host: null,
      afterApplyGuidance: ['restartHost'],
    });
    const nobody = await pool(served, 'apply', 'XS62ESP1', '--host', 'nobody');
    expect(nobody.exitCode).toBe(2);
  });

  test('one that fails shows what the patch has printed', async () => {
    const served = await ServedPool.start();
    const patch = await scriptPatch({
      apply: `i=0; while [ $i -lt 40 ]; do echo "line $i of the output"; i=$((i+1)); done; exit 4`,
    });
    await upload(served, patch);
    const { exitCode, stderr } = await pool(served, 'pool-apply', patch.uuid);
    expect(exitCode).toBe(7);
    expect(stderr).toContain('line 39 of the output\nexit code 4\n');
    expect(stderr).toContain('the patch failed while it was being applied');
  });
});

test('a server without root takes and serves patches, and says why it applies none', async (context) => {
  requireTool(context, 'setpriv');
  const work = workspace();
  // The server has its state there.
  chmodSync(work.folder, 0o777);
  const wrapper = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  const served = await ServedPool.start({ work, wrapper });
  const patch = await samplePatch('no root');
  const ref = await upload(served, patch);
  expect(sha256((await served.send('GET', `/pool_patch_download?uuid=${patch.uuid}`)).body)).toBe(
    patch.sha256,
  );
  for (const command of ['precheck', 'apply', 'pool-apply']) {
    const { exitCode, stderr } = await pool(served, command, patch.uuid);
    expect([command, exitCode]).toEqual([command, 8]);
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain('its server does not run as root');
  }
  await served.python(`call("pool_patch.destroy", ${text(ref)})`);
  strangers(served, 0);
});

test('SIGTERM while a patch is being applied: the server waits for it, and its record is there', async () => {
  const served = await ServedPool.start();
  const [go, began] = [join(served.work.folder, 'go'), join(served.work.folder, 'began')];
  const patch = await scriptPatch({ apply: `touch ${began}; while [ ! -e ${go} ]; do sleep 0.05; done` });
  const ref = await upload(served, patch);
  const applying = pool(served, 'apply', patch.uuid);
  await expect.poll(() => existsSync(began)).toBe(true);
  const stopped = served.stop();
  await expect.poll(() => served.said).toContain('It waits for the patch');
  writeFileSync(go, '');
  expect(await stopped).toBe(0);
  // The client has lost its server; what it was for was done.
  const { exitCode, stderr } = await applying;
  expect(exitCode).toBe(8);
  expect(stderr.replaceAll(/\s+/g, ' ')).toContain(
    'unknown: the patch may be running, or have been applied in part to do patch-vdi pool patches tells when',
  );
  await served.start();
  expect(await served.python(`print(call("pool_patch.get_pool_applied", ${text(ref)}))`)).toBe('True');
  strangers(served, 1);
  await expectUnmounted(served);
});

/** A patch that waits for `go`, and a client that applies it, once it has begun. */
async function applyingOne(served: ServedPool) {
  const [go, began] = [join(served.work.folder, 'go'), join(served.work.folder, 'began')];
  const patch = await scriptPatch({ apply: `touch ${began}; while [ ! -e ${go} ]; do sleep 0.05; done` });
  const ref = await upload(served, patch);
  const trust = ['--url', served.url, '--ca-file', served.certificate];
  const started = startCli(served.work, ['pool', 'apply', patch.uuid, ...trust], {
    env: { PATCH_VDI_PASSWORD: served.password },
  });
  await expect.poll(() => existsSync(began)).toBe(true);
  return { go, ref, ...started };
}

test('Ctrl-C while a patch is being applied: the client says that it goes on, and leaves its task', async () => {
  const served = await ServedPool.start();
  const { go, ref, child, ended } = await applyingOne(served);
  child.kill('SIGINT');
  // It does not wait for the patch, which waits for us.
  const { exitCode, stdout, stderr } = await ended;
  expect([exitCode, stdout]).toEqual([130, '']);
  const words = stderr.replaceAll(/\s+/g, ' ');
  expect(words).toContain('the patch is being applied and cannot be stopped');
  expect(words).toContain('left behind it goes on on the server to do patch-vdi pool tasks shows it');
  expect(words).not.toContain('cancelled');
  expect((await pool(served, 'tasks')).stdout).toContain('pool_patch.apply');
  writeFileSync(go, '');
  await served.logIn();
  await expect.poll(() => served.call('pool_patch.get_pool_applied', ref)).toBe(true);
  await expectUnmounted(served);
});

test.for([['gone'], ['there again']])(
  'the server is killed while it applies, and %s: what became of it is unknown',
  async ([how]) => {
    const served = await ServedPool.start();
    const { ended } = await applyingOne(served);
    await served.kill();
    if (how === 'there again') await served.start(true);
    const { exitCode, stderr } = await ended;
    expect(exitCode).toBe(8);
    const words = stderr.replaceAll(/\s+/g, ' ');
    expect(words).toContain('unknown: the patch may be running, or have been applied in part');
    expect(words).not.toContain('nothing was changed');
  },
);
