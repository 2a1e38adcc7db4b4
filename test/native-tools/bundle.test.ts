import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/tools/package-files.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

/** The command line of a small project that uses our packages as patch-vdi does. */
const CLI_SOURCE = `#!/usr/bin/env node
import { greeting } from '../index.js';
if (process.argv[2] === '--version') console.log('1.2.3');
else if (process.argv[2] === 'run') {
  const { execa } = await import('execa');
  console.log((await execa('/bin/echo', [greeting])).stdout);
} else {
  const { default: progress } = await import('cli-progress');
  console.log(typeof progress.SingleBar, process.env.NODE_ENV);
}
`;

function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/** A scratch project with our rolldown.config.mjs and our packages. */
function makeProject(files: Readonly<Record<string, string>> = {}): string {
  const folder = temporaryFolder();
  const packages = packageFile('node_modules');
  mkdirSync(join(folder, 'node_modules'));
  for (const name of readdirSync(packages)) {
    if (!name.startsWith('.')) symlinkSync(join(packages, name), join(folder, 'node_modules', name));
  }
  copyFileSync(packageFile('rolldown.config.mjs'), join(folder, 'rolldown.config.mjs'));
  const entries = {
    'src/cli/main.ts': CLI_SOURCE,
    'src/index.ts': `export const greeting: string = 'hello';\n`,
  };
  writeFiles(folder, { 'package.json': '{"type":"module"}', ...entries, ...files });
  return folder;
}

function build(folder: string) {
  const rolldown = packageFile('node_modules/rolldown/bin/cli.mjs');
  return spawnSync(process.execPath, [rolldown, '-c', 'rolldown.config.mjs'], {
    cwd: folder,
    encoding: 'utf8',
  });
}

const runEntry = (folder: string, ...args: string[]) =>
  spawnSync(join(folder, 'dist/cli/main.js'), args, {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], NODE_ENV: 'from outside' },
  });

test('the command line runs without node_modules, and loads packages only when it needs them', () => {
  const folder = makeProject({ 'dist/chunks/of-yesterday.js': '', 'dist/index.d.ts': '' });
  const { status, stderr } = build(folder);
  expect(status, stderr).toBe(0);
  const main = readFileSync(join(folder, 'dist/cli/main.js'), 'utf8');

  expect(statSync(join(folder, 'dist/cli/main.js')).mode & 0o777).toBe(0o755);
  expect(main.match(/^#!.*$/gm)).toEqual(['#!/usr/bin/env node']);
  expect(main.startsWith('#!')).toBe(true);
  expect(readFileSync(join(folder, 'dist/index.js'), 'utf8')).not.toContain('#!');
  expect(main).toMatch(/import\(["`]\.\.\/chunks\/execa-/);
  expect(main).not.toMatch(/from\s*["`]\.\.\/chunks\/execa-/);
  const files = readdirSync(join(folder, 'dist'), { recursive: true, encoding: 'utf8' });
  expect(files.filter((name) => name.endsWith('.map') || name.includes('of-yesterday'))).toEqual([]);
  expect(files).toContain('index.d.ts');

  rmSync(join(folder, 'node_modules'), { recursive: true });
  expect(runEntry(folder, '--version').stdout).toBe('1.2.3\n');
  expect(runEntry(folder, 'run').stdout).toBe('hello\n');
  expect(runEntry(folder).stdout).toBe('function from outside\n');

  const licences = readFileSync(join(folder, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8');
  const titles = [...licences.matchAll(/^(\S+) \d[\d.]* \((.*)\)$/gm)].map((match) => match[1]);
  for (const name of ['execa', 'cross-spawn', 'human-signals', '@sec-ant/readable-stream', 'cli-progress']) {
    expect(titles).toContain(name);
  }
  expect(titles).not.toContain('commander');
  expect(licences.match(/permission (notice|to use)|Apache License/gi)?.length).toBeGreaterThan(20);
});

test.each([
  [
    'a licence that is not on the list',
    '"GPL-3.0"',
    'LICENSE',
    'other 1.0.0 may not be bundled: licence "GPL-3.0"',
  ],
  ['no licence', 'null', 'LICENSE', 'other 1.0.0 may not be bundled: licence null'],
  ['no licence file', '"MIT"', 'readme.md', 'other 1.0.0 may not be bundled: no licence file'],
])('a package with %s fails the build', (_name, licence, licenceFile, message) => {
  const folder = makeProject({
    'src/index.ts': `export { other as greeting } from 'other';\n`,
    'node_modules/other/package.json': `{"name":"other","version":"1.0.0","license":${licence},"main":"a.mjs"}`,
    'node_modules/other/a.mjs': 'export const other = Math.random();\n',
    [`node_modules/other/${licenceFile}`]: 'words',
  });
  const { status, stderr, stdout } = build(folder);
  expect(status).not.toBe(0);
  expect(stderr + stdout).toContain(message);
});

test('a package that is not installed fails the build', () => {
  const { status, stderr, stdout } = build(
    makeProject({ 'src/index.ts': `export { x as greeting } from 'no-such-package';\n` }),
  );
  expect(status).not.toBe(0);
  expect(stderr + stdout).toContain('no-such-package');
});
