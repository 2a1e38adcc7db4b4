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
    expect(verified.exitCode, verified.stdout).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({ sha256: digest, structure: 'good' });
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
