import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { extractFile } from '../../src/inspect/extract.js';
import { inspectImage } from '../../src/inspect/report.js';
import { MIB } from '../../src/units.js';
import { openVdi } from '../../src/xenapi/open-vdi.js';
import { VDI } from '../../src/xenapi/records.js';
import { makeCertificate } from '../oracles/certificates.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { redirect } from '../oracles/xapi-replay-disks.js';
import { sha256 } from '../pool/test-pool.js';
import { connected, thrownBy } from './pools.js';
import { scene, type Scene } from '../upload/scene.js';

beforeEach((context) => requireTool(context, 'openssl', 'mke2fs', 'debugfs'));

const SIZE = 24 * MIB;

/** A pool with the VDI of an upload in it. */
async function withVdi(): Promise<{ at: Scene; ca: string; ref: string }> {
  const certificate = makeCertificate(temporaryFolder(), 'pool');
  const at = await scene(SIZE, { certificate });
  const { vdi } = await at.upload({ format: 'raw', connect: { trust: { caFile: certificate.file } } });
  return { at, ca: certificate.file, ref: vdi.ref };
}

async function opened({ at, ca, ref }: Awaited<ReturnType<typeof withVdi>>) {
  const connection = await connected(at.pool, { trust: { caFile: ca } });
  return await openVdi(connection, ref, await connection.callAs(VDI, 'VDI.get_record', ref));
}

describe('a VDI of a pool', () => {
  test('"a pool’s own export offers no ranges: ask for raw, read forward, close when you have what you need"', async () => {
    const all = await withVdi();
    const { image, close } = await opened(all);
    const report = await inspectImage(image, {});
    await close();
    expect(report).toMatchObject({ patch: { size: SIZE }, filesystem: { type: 'ext4' } });
    const exports = all.at.pool.requests.filter(({ path }) => path === '/export_raw_vdi');
    expect(exports).toHaveLength(1);
    expect(exports[0]?.query.get('format')).toBe('raw');
    expect(exports[0]?.headers.range).toBeUndefined();
    // The disk has 96 MiB; what is between is what the connection itself holds.
    expect(all.at.disks.exportedBytes).toBeLessThan(32 * MIB);
  });

  test('gives its patch', async () => {
    const all = await withVdi();
    const { image, close } = await opened(all);
    const output = join(all.at.folder, 'patch');
    await extractFile(image, { output: { path: output, force: false } }).finally(close);
    expect(sha256(readFileSync(output))).toBe(all.at.patch.sha256);
  });

  test('that another host can see: a 302 is followed, with the same checks', async () => {
    const all = await withVdi();
    all.at.disks.insteadOfExport = (request) =>
      request.headers.host?.startsWith('127.0.0.1') === true
        ? redirect(`https://localhost:${all.at.pool.port}/export_raw_vdi?session_id=x`)
        : undefined;
    const { image, close } = await opened(all);
    expect(await inspectImage(image, {}).finally(close)).toMatchObject({ patch: { size: SIZE } });
    all.at.disks.insteadOfExport = () => redirect(`http://127.0.0.1:${all.at.pool.port}/export_raw_vdi`);
    expect(await thrownBy(opened(all))).toMatchObject({
      message: 'the server sends us somewhere where no credentials may go',
    });
  });

  test('whose export is cut is an error, not a short file', async () => {
    const all = await withVdi();
    const content = all.at.disks.contents.get(all.ref) ?? Buffer.alloc(0);
    all.at.disks.contents.set(all.ref, content.subarray(0, 12 * MIB));
    const { image, close } = await opened(all);
    const output = join(all.at.folder, 'patch');
    const work = extractFile(image, { output: { path: output, force: false } }).finally(close);
    expect(await thrownBy(work)).toMatchObject({
      kind: 'sink',
      message: 'the export of the VDI ended too early',
      context: { found: `${12 * MIB} bytes`, expected: `${96 * MIB} bytes, the size of the disk` },
    });
    expect(() => readFileSync(output)).toThrow(/ENOENT/);
  });

  test('with anything else in it is a finding', async () => {
    const all = await withVdi();
    all.at.disks.contents.set(all.ref, randomBytes(96 * MIB));
    const { image, close } = await opened(all);
    const report = await inspectImage(image, {}).finally(close);
    expect(report.filesystem).toBeUndefined();
    expect(report.findings.length).toBeGreaterThan(0);
  });
});
