import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { expectCleanText, runCli } from './cli.js';
import { workspace, type Workspace } from './workspace.js';

const FIXTURES = resolve(import.meta.dirname, '../../fixtures/ext');

const names = readdirSync(FIXTURES)
  .filter((name) => name.endsWith('.img.gz'))
  .map((name) => name.replace(/\.img\.gz$/, ''));
const digests = new Map(
  readFileSync(join(FIXTURES, 'patch.sha256'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [digest = '', name = ''] = line.split(/\s+/);
      return [name, digest] as const;
    }),
);

function unpack(work: Workspace, name: string): string {
  const path = join(work.folder, `${name}.img`);
  writeFileSync(path, gunzipSync(readFileSync(join(FIXTURES, `${name}.img.gz`))));
  return path;
}

interface Verified {
  readonly sha256: string;
  readonly report: { readonly findings: readonly { readonly code: string; readonly severity: string }[] };
}

/** What `verify` does not call good, because a host that mounts it changes it first. */
const CHANGED_BY_A_MOUNT: Readonly<Record<string, readonly string[]>> = {
  'ext3-needs-recovery': ['journal-needs-recovery'],
  'ext4-needs-recovery': ['journal-needs-recovery'],
  'ext4-orphans': ['orphan-inodes'],
};

test.for(names.filter((name) => !name.startsWith('refused-')))(
  '%s: inspect, extract and verify tell what is there',
  async (name) => {
    const work = workspace();
    const image = unpack(work, name);
    const inspected = await runCli(work, ['inspect', image, '--map']);
    expect(inspected, inspected.stdout + inspected.stderr).toMatchObject({ exitCode: 0, stderr: '' });
    expectCleanText(inspected.stdout);
    const out = work.output('patch');
    expect(await runCli(work, ['extract', image, '-o', out])).toMatchObject({ exitCode: 0 });
    const digest = createHash('sha256').update(readFileSync(out)).digest('hex');
    expect(digest).toBe(digests.get(name));
    const verified = await runCli(work, ['verify', image, '--structure-only', '--json']);
    const { sha256, report } = JSON.parse(verified.stdout) as Verified;
    const errors = report.findings.filter(({ severity }) => severity === 'error').map(({ code }) => code);
    expect({ sha256, errors }, verified.stdout).toEqual({
      sha256: digest,
      errors: CHANGED_BY_A_MOUNT[name] ?? [],
    });
    expect(verified.exitCode).toBe(errors.length === 0 ? 0 : 6);
  },
);

test.for(names.filter((name) => name.startsWith('refused-')))(
  '%s: an error of kind image that says why',
  async (name) => {
    const work = workspace();
    const image = unpack(work, name);
    const inspected = await runCli(work, ['inspect', image, '--json']);
    expect(inspected.exitCode).toBe(6);
    const report = JSON.parse(inspected.stdout) as { findings: { code: string; found: string }[] };
    expect(report.findings.map(({ code }) => code)).toContain('filesystem-unreadable');
    const extracted = await runCli(work, ['extract', image, '-o', work.output('patch')]);
    expect(extracted.exitCode).toBe(6);
    expect(extracted.stderr).toMatch(/found .*\n(.*\n)*? +expected /);
    expect(work.outputs()).toEqual([]);
  },
);
