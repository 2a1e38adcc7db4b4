/*
 * Patches that live in a pool which knows nothing of patches: as on a XenServer of today, they are VDIs and nothing
 * else. Every command on one that "upload" has stored, and on one without any label, named by its uuid.
 */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { requireTool } from '../oracles/require-tool.js';
import { errorPage, withDisks, type Disks } from '../oracles/xapi-replay-disks.js';
import { PASSWORD, ReplayError } from '../oracles/xapi-replay.js';
import { poolPlace, samplePatch, sha256 } from '../pool/test-pool.js';
import { runCli } from './cli.js';
import { expectFits, poolScene, uuid, type PoolScene } from './pool-client.js';
import { MIB } from './uploads.js';

beforeEach((context) => requireTool(context, 'openssl', 'gpgv', 'mke2fs', 'debugfs'));

const SIZE = 8 * MIB + 5;
const DISK = 34 * MIB;
const NAME = 'Patch hotfix.xsupdate';
const PLAIN = uuid('e');

interface Stored extends PoolScene {
  readonly disks: Disks;
  /** What was uploaded. */
  readonly bytes: Buffer;
  readonly ref: string;
  readonly record: Record<string, unknown>;
}

/** A XenServer with two VDIs: one of "patch-vdi upload", and one with the same disk of which nobody has said anything. */
async function stored(): Promise<Stored> {
  const scene = await poolScene();
  const { work, pool, certificate } = scene;
  const disks = withDisks(pool);
  pool.answers.set('pool_patch.get_all_records', () => {
    throw new ReplayError('MESSAGE_METHOD_UNKNOWN', 'pool_patch.get_all_records');
  });
  const { keyring } = poolPlace(work.folder);
  const { bytes } = await samplePatch('stored', SIZE);
  const file = work.input('hotfix.xsupdate', bytes);
  const trust = ['--pool', pool.url, '--ca-file', certificate.file];
  const uploaded = await runCli(work, ['upload', file, '--format', 'raw', '--keyring', keyring, ...trust], {
    env: { PATCH_VDI_PASSWORD: PASSWORD },
  });
  expect(uploaded.exitCode, uploaded.stderr).toBe(0);
  const [[ref, record]] = [...pool.tables.VDI] as [[string, Record<string, unknown>]];
  const content = disks.contents.get(ref) ?? Buffer.alloc(0);
  expect(content).toHaveLength(DISK);
  pool.tables.VDI.set('OpaqueRef:plain', { ...record, uuid: PLAIN, name_label: 'sda', other_config: {} });
  disks.contents.set('OpaqueRef:plain', content);
  return { ...scene, disks, bytes, ref, record };
}

describe('on a pool that knows nothing of patches', () => {
  test('patches lists what upload has stored, and nothing else', async () => {
    const { json, record } = await stored();
    const { patches, stored: found } = (await json(['patches'])) as { patches: unknown[]; stored: unknown[] };
    expect(patches).toEqual([]);
    expect(found).toMatchObject([{ uuid: record['uuid'], nameLabel: NAME, labels: { size: SIZE } }]);
  });

  test.for([
    ['by its name', () => NAME, true],
    ['by its uuid', ({ record }: Stored) => String(record['uuid']), true],
    ['without labels, by its uuid', () => PLAIN, false],
    ['without labels, by the start of it', () => PLAIN.slice(0, 8), false],
  ] as const)('download, vdi-extract and vdi-inspect of one %s', async ([, called, labelled]) => {
    const all = await stored();
    const { work, json, disks, bytes } = all;
    const wanted = called(all);

    const downloaded = await json(['download', wanted, '-o', work.output('downloaded')]);
    expect(downloaded).toMatchObject({ ok: true, sizeBytes: SIZE, sha256: sha256(bytes) });
    expect(downloaded['warnings']).toHaveLength(labelled ? 0 : 1);
    expect(readFileSync(work.output('downloaded')).equals(bytes)).toBe(true);
    // Forward, and no further than the patch: behind it the disk is free.
    expect(disks.exportedBytes).toBeLessThan(DISK);

    await json(['vdi-extract', wanted, '-o', work.output('extracted')]);
    expect(readFileSync(work.output('extracted')).equals(bytes)).toBe(true);

    const inspected = await json(['vdi-inspect', wanted]);
    expect(inspected).toMatchObject({ ok: true, healthy: true, patch: { size: SIZE } });
    expect(disks.exportedBytes).toBeLessThan(DISK);
  });

  test('download into a pipe', async () => {
    const { work, run, bytes } = await stored();
    const path = work.output('piped');
    const ended = await run(['download', NAME, '-o', '-'], { stdout: { path, through: 'pipe' } });
    expect(ended.exitCode, ended.stderr).toBe(0);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test('a name that nobody has: the error lists what is stored, not the disks of VMs', async () => {
    const { work, run } = await stored();
    const { exitCode, stderr } = await run(['download', 'nothing', '-o', work.output('x')]);
    expect(exitCode).toBe(2);
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain(NAME);
    expect(stderr).not.toContain(PLAIN);
    expectFits(stderr);
  });

  test.for([
    ['another SHA-256', { 'patch-vdi:sha256': '0'.repeat(64) }, 'SHA-256 0000'],
    ['another size', { 'patch-vdi:size': String(SIZE + 1) }, `${SIZE + 1} bytes`],
  ])('labels of %s: exit 6, and no file', async ([, changes, words]) => {
    const { work, run, record } = await stored();
    record['other_config'] = { ...(record['other_config'] as object), ...(changes as object) };
    const { exitCode, stderr } = await run(['download', NAME, '-o', work.output('x')]);
    expect(exitCode).toBe(6);
    expect(stderr).toContain('other bytes than were uploaded');
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain(words);
    expect(work.outputs()).toEqual([]);
    expectFits(stderr);
  });

  test('one byte of the patch that was changed on the disk: exit 6, and no file', async () => {
    const { work, run, disks, bytes, ref } = await stored();
    const content = disks.contents.get(ref) ?? Buffer.alloc(0);
    const at = content.indexOf(bytes.subarray(-4096));
    expect(at).toBeGreaterThan(0);
    content.writeUInt8(content.readUInt8(at) ^ 1, at);
    const { exitCode } = await run(['download', NAME, '-o', work.output('x')]);
    expect(exitCode).toBe(6);
    expect(work.outputs()).toEqual([]);
  });

  test.for([
    ['in chunks', { 'transfer-encoding': 'chunked' }],
    ['with a length', { 'content-length': String(DISK) }],
    ['until the connection ends', { connection: 'close' }],
  ] as const)('an export %s is read', async ([, headers]) => {
    const { work, pool, run, disks, bytes, ref } = await stored();
    const { intercept } = pool;
    pool.intercept = (request, response) => {
      if (request.url?.startsWith('/export_raw_vdi') !== true) return intercept?.(request, response) === true;
      response.writeHead(200, headers).end(disks.contents.get(ref));
      return true;
    };
    const { exitCode, stderr } = await run(['download', NAME, '-o', work.output('x')]);
    expect(exitCode, stderr).toBe(0);
    expect(readFileSync(work.output('x')).equals(bytes)).toBe(true);
  });

  test.for([
    ['401 instead', (): string => errorPage('401 Unauthorised'), '401 Unauthorised'],
    ['500 instead', (): string => errorPage('500 Internal Server Error'), '500 Internal Server Error'],
    [
      '500 after the 200',
      (): string => `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${errorPage('500 Internal Server Error')}`,
      '500 Internal Server Error, after its first answer',
    ],
    ['nothing at all', (): string => 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n', 'ended too early'],
    ['no answer of HTTP', (): string => 'what?', 'broke'],
  ] as const)('an export with %s: an error, and no file', async ([, answer, words]) => {
    const { work, run, disks } = await stored();
    disks.insteadOfExport = answer;
    for (const command of ['download', 'vdi-extract']) {
      const { exitCode, stderr } = await run([command, NAME, '-o', work.output('x')]);
      expect(exitCode).toBe(8);
      expect(stderr.replaceAll(/\s+/g, ' ')).toContain(words);
      expect(work.outputs()).toEqual([]);
    }
  });

  test('an export that is cut in the middle of the patch: an error, and no file', async () => {
    const { work, run, disks, bytes, ref } = await stored();
    const content = disks.contents.get(ref) ?? Buffer.alloc(0);
    const middle = content.indexOf(bytes.subarray(-4096)) - MIB;
    disks.contents.set(ref, content.subarray(0, middle));
    const { exitCode, stderr } = await run(['download', NAME, '-o', work.output('x')]);
    expect(exitCode).toBe(8);
    expect(stderr).toContain('the export of the VDI ended too early');
    expect(work.outputs()).toEqual([]);
  });

  test('vdi-copy keeps the labels, also where the pool does not', async () => {
    const { pool, json, record } = await stored();
    const labels = record['other_config'];
    for (const keeps of [true, false]) {
      if (!keeps) {
        pool.answers.set('VDI.get_record', ([, ref]) => {
          const made = pool.tables.VDI.get(String(ref)) ?? {};
          if (made['uuid'] !== record['uuid']) made['other_config'] = { theirs: 'x' };
          return made;
        });
      }
      const { vdi } = (await json(['vdi-copy', String(record['uuid']), '--sr', 'Shared storage'])) as {
        vdi: { uuid: string };
      };
      const copy = [...pool.tables.VDI.values()].find((made) => made['uuid'] === vdi.uuid);
      expect(copy?.['other_config']).toEqual(keeps ? labels : { theirs: 'x', ...(labels as object) });
    }
    await json(['vdi-copy', PLAIN, '--sr', 'Shared storage']);
  });
});

describe('vdi-destroy', () => {
  test('of what upload has stored; of another VDI only with --force', async () => {
    const { pool, run } = await stored();
    const refused = await run(['vdi-destroy', NAME, PLAIN]);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain('not known as one of a patch');
    expect(refused.stderr).toContain('--force');
    expectFits(refused.stderr);
    expect(pool.callsOf('VDI.destroy')).toEqual([]);
    expect((await run(['vdi-destroy', NAME])).exitCode).toBe(0);
    expect((await run(['vdi-destroy', PLAIN, '--force'])).exitCode).toBe(0);
    expect(pool.tables.VDI.size).toBe(0);
  });

  test('of a VDI that a VM has, running or not, only with --force; of a running one the pool says VDI_IN_USE', async () => {
    const { pool, run, record } = await stored();
    record['VBDs'] = ['OpaqueRef:vbd'];
    const refused = await run(['vdi-destroy', NAME]);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain('that VDI is a disk of a VM');
    expect(pool.callsOf('VDI.destroy')).toEqual([]);
    pool.answers.set('VDI.destroy', ([, ref]) => {
      throw new ReplayError('VDI_IN_USE', String(ref), 'destroy');
    });
    const inUse = await run(['vdi-destroy', NAME, '--force']);
    expect(inUse.exitCode).toBe(8);
    expect(inUse.stderr).toContain('the VDI is in use');
    expect(inUse.stderr).toContain('detach it from the VM or host that has it');
    expect(pool.tables.VDI.size).toBe(2);
  });
});
