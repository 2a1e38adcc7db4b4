import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/tools/package-files.js';
import { runCli } from './cli.js';
import { workspace } from './workspace.js';

const COMMANDS = ['build', 'plan', 'apply', 'serve', 'doctor', 'test', 'pool'];
const POOL_COMMANDS = 'patches upload download clean pool-clean destroy srs vdis vdi-copy vdi-destroy tasks';
const SUBCOMMANDS = [
  'test key',
  'test patch',
  'test vdi',
  ...POOL_COMMANDS.split(' ').map((name) => `pool ${name}`),
];

test.for(['', ...COMMANDS, ...SUBCOMMANDS])('%s --help fits 80 columns', async (command) => {
  const args = [...command.split(' ').filter((word) => word !== ''), '--help'];
  const { exitCode, stdout, stderr } = await runCli(workspace(), args);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toMatch(/^Usage: patch-vdi/);
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
});

test.for(COMMANDS)('help COMMAND is COMMAND --help: %s', async (command) => {
  const work = workspace();
  const { stdout } = await runCli(work, ['help', command]);
  expect(stdout).toBe((await runCli(work, [command, '--help'])).stdout);
});

/** The options that the issue promises. */
const PROMISED = [
  '--output',
  '--format',
  '--content-length',
  '--size',
  '--label',
  '--uuid',
  '--vhd-uuid',
  '--source-date-epoch',
  '--force',
  '--keyring',
  '--signer',
  '--signature',
  '--allow-unsigned',
  '--allow-sha256',
  '--allow-weak-digest',
  '--allow-expired-key',
  '--digest',
  '--json',
  '--quiet',
  '--no-progress',
];

test('build --help tells all options', async () => {
  const { stdout } = await runCli(workspace(), ['build', '--help']);
  expect(PROMISED.filter((option) => !stdout.includes(`${option} `))).toEqual([]);
});

test.for(['--version', '-V'])('%s', async (option) => {
  const { exitCode, stdout } = await runCli(workspace(), [option]);
  const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string };
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${version}\n` });
});

test.for([
  ['an option with a slip', ['build', 'x', '--keyrng', 'k'], '--keyring'],
  ['a command with a slip', ['biuld', 'x'], 'build'],
  ['another format', ['build', 'x', '--format', 'vdh'], 'vhd'],
  ['an option without its value', ['build', 'x', '--keyring'], 'argument missing'],
  ['no upload', ['build'], "missing required argument 'upload'"],
  ['two uploads', ['build', 'x', 'y'], 'too many arguments'],
] as const)('%s: exit code 2 and what would be right', async ([, args, says]) => {
  const { exitCode, stdout, stderr } = await runCli(workspace(), args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain(says);
});

test('no command: exit code 2 and the help', async () => {
  const { exitCode, stdout, stderr } = await runCli(workspace(), []);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain('Usage: patch-vdi');
});

test('doctor finds all tools and tells their versions', async () => {
  const { exitCode, stdout } = await runCli(workspace(), ['doctor']);
  expect(exitCode).toBe(0);
  for (const tool of ['mke2fs', 'debugfs', 'e2fsck', 'gpgv']) {
    expect(stdout).toMatch(new RegExp(`^ +${tool} +ok +\\d+\\.\\d+`, 'm'));
  }
});
