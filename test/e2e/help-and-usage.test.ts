import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/tools/package-files.js';
import { runCli } from './cli.js';
import { workspace } from './workspace.js';

const COMMANDS = [
  'inspect',
  'extract',
  'verify',
  'diff',
  'upload',
  'completion',
  'manual',
  'build',
  'plan',
  'apply',
  'serve',
  'doctor',
  'test',
  'pool',
];
const POOL_COMMANDS =
  'patches upload download clean pool-clean destroy hosts srs vdis vdi-copy vdi-destroy tasks cancel';
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

const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string };
const TOOLS = ['mke2fs', 'debugfs', 'e2fsck', 'gpgv'];

test.for(['--version', '-V'])(
  '%s: the program, Node, and the tools with what they say themselves',
  async (option) => {
    const { exitCode, stdout, stderr } = await runCli(workspace(), [option]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const [first, node, ...tools] = stdout.trimEnd().split('\n');
    expect([first, node]).toEqual([
      `patch-vdi ${version}`,
      `node ${process.versions.node} ${process.execPath}`,
    ]);
    expect(tools.map((line) => line.split(' ')[0])).toEqual(TOOLS);
    for (const line of tools) {
      const [, number = '?', path = ''] = line.split(' ');
      const said = spawnSync(path, [path.endsWith('gpgv') ? '--version' : '-V'], { encoding: 'utf8' });
      expect(`${said.stdout}${said.stderr}`).toContain(number);
    }
  },
);

test('--version tells what is missing, and does not fail; --json on either side', async () => {
  const env = { PATCH_VDI_TOOLS_PATH: '/nowhere' };
  const { exitCode, stdout } = await runCli(workspace(), ['--version'], { env });
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(new RegExp(`^patch-vdi ${version}\n`));
  expect(stdout).toContain('\ngpgv not found (patch-vdi doctor says how to get it)\n');
  for (const args of [
    ['--version', '--json'],
    ['--json', '-V'],
  ]) {
    const ended = await runCli(workspace(), args, { env });
    expect(JSON.parse(ended.stdout)).toMatchObject({
      ok: true,
      version,
      node: { version: process.versions.node },
      tools: TOOLS.map((program) => ({ program, version: null, path: null, verdict: 'missing' })),
    });
  }
});

test.for([
  ['an option with a slip', ['build', 'x', '--keyrng', 'k'], '--keyring'],
  ['a command with a slip', ['biuld', 'x'], 'build'],
  ['another format', ['build', 'x', '--format', 'vdh'], 'Did you mean vhd?'],
  ['a shell with a slip', ['completion', 'bsh'], 'Did you mean bash?'],
  ['a file system with a slip', ['plan', 'x', '--filesystem', 'etx4'], 'Did you mean ext4?'],
  ['a fault with a slip', ['test', 'vdi', '-o', 'x.vhd', '--fault', 'superblock-zerod'], 'superblock-zeroed'],
  ['an option of a subcommand with a slip', ['pool', 'srs', '--passwrd-file', 'x'], '--password-file'],
  ['a subcommand with a slip', ['pool', 'vdi-destory', 'x'], 'Did you mean vdi-destroy?'],
  ['one of "test" with a slip', ['test', 'kye'], 'Did you mean key?'],
  [
    'an option of others',
    ['inspect', 'x', '--keyring', 'k'],
    '--keyring is an option of: build, extract, verify',
  ],
  ['one with its value', ['inspect', 'x', '--keyring=k'], '--keyring is an option of: build'],
  ['an option of others with a slip', ['pool', 'srs', '--keyrng', 'k'], '--keyring is an option of: build'],
  ['an option before the command', ['--keyring', 'k', 'build', 'x'], '--keyring is an option of: build'],
  ['a subcommand without its group', ['srs'], 'there is: patch-vdi pool srs'],
  ['an option of nobody', ['inspect', 'x', '--wobble'], "unknown option '--wobble'"],
  ['an option without its value', ['build', 'x', '--keyring'], 'argument missing'],
  ['no upload', ['build'], "missing required argument 'upload'"],
  ['two uploads', ['build', 'x', 'y'], 'too many arguments'],
] as const)('%s: exit code 2 and what would be right', async ([, args, says]) => {
  const { exitCode, stdout, stderr } = await runCli(workspace(), args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain(says);
});

test('with --json the advice is in the message', async () => {
  const messageOf = async (...args: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await runCli(workspace(), [...args, '--json']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: '' });
    return (JSON.parse(stdout) as { error: { message: string } }).error.message;
  };
  expect(await messageOf('inspect', 'x', '--keyring', 'k')).toContain('is an option of: build');
  expect(await messageOf('inspect', 'x', '--image-format', 'vdh')).toContain('Did you mean vhd?');
  expect(await messageOf('inspect', 'x', '--offst', '1')).toContain('Did you mean --offset?');
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
