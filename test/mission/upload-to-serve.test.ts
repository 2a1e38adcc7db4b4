/*
 * `patch-vdi upload` against the project's own server as a pool, over TLS: both started for real. What is in the pool
 * afterwards is exported with curl, and judged by qemu-img, e2fsck, debugfs and the kernel.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { runCli, type Ended } from '../e2e/cli.js';
import { expectPatchDisk, requireImageJudges } from '../e2e/judges/patch-disk.js';
import { requireTool } from '../oracles/require-tool.js';
import { samplePatch, sha256 } from '../pool/test-pool.js';
import { MIB, roundUp } from '../../src/units.js';
import { ServedPool } from './served-pool.js';

beforeEach((context) => {
  requireTool(context, 'curl');
  requireImageJudges(context);
});

/** Runs `patch-vdi upload` as a user would. */
async function upload(served: ServedPool, file: string, ...more: readonly string[]): Promise<Ended> {
  const { work, url, certificate, place, password } = served;
  const fixed = ['upload', file, '--pool', url, '--ca-file', certificate, '--keyring', place.keyring];
  const ended = await runCli(work, [...fixed, ...more], { env: { PATCH_VDI_PASSWORD: password } });
  expect(ended.stdout + ended.stderr).not.toContain(password);
  return ended;
}

interface VdiOnServer {
  readonly name_label: string;
  readonly virtual_size: number;
  readonly other_config: Readonly<Record<string, string>>;
}

async function vdis(served: ServedPool): Promise<Record<string, VdiOnServer>> {
  await served.logIn();
  return (await served.call('VDI.get_all_records')) as Record<string, VdiOnServer>;
}

async function exported(served: ServedPool, vdi: string, format: 'raw' | 'vhd'): Promise<string> {
  const file = join(served.work.out, `exported.${format}`);
  const got = await served.curl('-f', '-o', file, `/export_raw_vdi?vdi=${vdi}&format=${format}`);
  expect(got).toMatchObject({ exitCode: 0, stderr: '' });
  return file;
}

describe('upload to a pool', () => {
  test.for(['auto', 'raw'] as const)('--format %s: what the pool exports is a patch disk', async (format) => {
    const served = await ServedPool.start();
    const patch = await samplePatch('upload', 5 * MIB + 3);
    const file = served.work.input('hotfix.xsupdate', patch.bytes);
    const ended = await upload(served, file, '--format', format, '--json');
    expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
    const said = JSON.parse(ended.stdout) as Record<string, Record<string, unknown>>;
    const [[ref, vdi] = ['', undefined], ...others] = Object.entries(await vdis(served));
    expect(others).toEqual([]);
    const size = roundUp(4 * patch.bytes.length, 2 * MIB);
    expect(vdi).toMatchObject({ name_label: 'Patch hotfix.xsupdate', virtual_size: size });
    expect(vdi?.other_config).toEqual({
      'patch-vdi:version': expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
      'patch-vdi:sha256': patch.sha256,
      'patch-vdi:size': String(patch.bytes.length),
      'patch-vdi:signer': expect.stringMatching(/^[0-9A-F]{40}$/) as string,
      'patch-vdi:uuid': said['filesystemUuid'] as unknown as string,
    });
    await expectPatchDisk(await exported(served, ref, 'raw'), 'raw', file, size);
    await expectPatchDisk(await exported(served, ref, 'vhd'), 'vhd', file, size);
    // No task of ours stays, and no session.
    expect(await served.call('task.get_all')).toEqual([]);
  });

  test('pool commands find it again, look into it, take the patch out, copy and destroy it', async () => {
    const served = await ServedPool.start({
      repositories: [
        '- {name_label: one, path: sr-one, capabilities: [VDI_CREATE, VDI_CLONE], default: true}',
        '- {name_label: two, path: sr-two, capabilities: [VDI_CREATE]}',
      ],
    });
    const patch = await samplePatch('again', 9 * MIB + 1);
    const file = served.work.input('hotfix.xsupdate', patch.bytes);
    expect(await upload(served, file, '--name', 'Hotfix 1')).toMatchObject({ exitCode: 0, stderr: '' });
    const pool = async (...args: readonly string[]): Promise<Ended> => {
      const trust = ['--pool', served.url, '--ca-file', served.certificate];
      const env = { PATCH_VDI_PASSWORD: served.password };
      return await runCli(served.work, ['pool', ...args, ...trust], { env });
    };
    const json = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
      const ended = await pool(...args, '--json');
      expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
      return JSON.parse(ended.stdout) as Record<string, unknown>;
    };
    const ours = {
      nameLabel: 'Hotfix 1',
      unfinished: false,
      labels: { sha256: patch.sha256, size: patch.bytes.length },
    };
    expect(await json('patches')).toMatchObject({ patches: [], stored: [ours] });
    expect(await json('vdis')).toMatchObject({ vdis: [ours] });
    expect((await pool('vdis')).stdout).toContain(patch.sha256.slice(0, 20));
    expect((await pool('patches')).stdout).toContain('the pool does not apply them');

    const report = await json('vdi-inspect', 'Hotfix 1');
    expect(report).toMatchObject({ healthy: true, patch: { size: patch.bytes.length } });
    const page = await pool('vdi-inspect', 'Hotfix 1');
    expect(page).toMatchObject({ exitCode: 0, stderr: '' });
    expect(page.stdout).toContain('no damage found');

    const out = served.work.output('patch');
    expect(await pool('vdi-extract', 'Hotfix 1', '-o', out)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(sha256(readFileSync(out))).toBe(patch.sha256);

    await json('vdi-copy', 'Hotfix 1', '--sr', 'two');
    const both = (await json('vdis'))['vdis'] as { uuid: string; srName: string }[];
    expect(both.map(({ srName }) => srName).toSorted()).toEqual(['one', 'two']);
    expect((await json('patches'))['stored']).toHaveLength(2);
    await json('vdi-destroy', ...both.map(({ uuid }) => uuid));
    expect(await vdis(served)).toEqual({});
  });

  test('a bad signature: exit 3, and no VDI', async () => {
    const served = await ServedPool.start();
    const patch = await samplePatch('bad', 5 * MIB);
    patch.bytes[3 * MIB] = (patch.bytes[3 * MIB] ?? 0) ^ 1;
    const file = served.work.input('hotfix.xsupdate', patch.bytes);
    const ended = await upload(served, file);
    expect(ended).toMatchObject({ exitCode: 3, stdout: '' });
    expect(ended.stderr).toContain('the VDI was destroyed');
    expect(await vdis(served)).toEqual({});
    expect(await served.call('task.get_all')).toEqual([]);
  });

  test('--dry-run changes nothing', async () => {
    const served = await ServedPool.start();
    const patch = await samplePatch('dry', 5 * MIB);
    const file = served.work.input('hotfix.xsupdate', patch.bytes);
    const ended = await upload(served, file, '--dry-run', '--json');
    expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(ended.stdout)).toMatchObject({ dryRun: true, format: 'vhd', virtualSize: 20 * MIB });
    expect(await vdis(served)).toEqual({});
  });

  test('OUT_OF_SPACE before anything', async () => {
    const served = await ServedPool.start({
      repositories: [
        '- {name_label: small, path: sr-small, capabilities: [VDI_CLONE], default: true, quota: 20M}',
      ],
    });
    const file = served.work.input('hotfix.xsupdate', (await samplePatch('too large', 6 * MIB)).bytes);
    const ended = await upload(served, file);
    expect(ended).toMatchObject({ exitCode: 5, stdout: '' });
    expect(ended.stderr).toContain('small');
    const asked = served.log.map(({ method }) => method);
    expect(asked).not.toContain('VDI.create');
  });
});
