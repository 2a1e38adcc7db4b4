import { Command } from 'commander';
import { expect, test } from 'vitest';
import { refuseEmptyNames } from '../../src/cli/empty-names.js';
import { makeProgram, withSubcommands } from '../../src/cli/make-program.js';
import { runCli } from '../e2e/cli.js';
import { workspace } from '../e2e/workspace.js';
import { CONTEXT } from './context.js';

test.for([
  ['build', ['build', '', '-o', 'x.vhd'], '<upload>'],
  ['an output', ['build', 'x', '--allow-unsigned', '-o', ''], '--output'],
  ['an output, in one word', ['extract', 'x.vhd', '--output='], '--output'],
  ['an image', ['inspect', ''], '<image>'],
  ['the second of two', ['diff', 'a', ''], '<b>'],
  ['one of more keyrings', ['verify', 'x', '--keyring', 'k', '--keyring', ''], '--keyring'],
  ['one of a list', ['serve', '--keyring', 'k', ''], '--keyring'],
  ['a folder', ['test', 'key', '-o', ''], '--output'],
  ['a patch', ['pool', 'destroy', ''], '<patch>'],
  ['of a subcommand', ['pool', 'download', 'x', '-o', ''], '--output'],
] as const)('%s without a name: usage, and nothing is touched', async ([, args, at]) => {
  const { exitCode, stdout, stderr } = await runCli(workspace(), args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain('a name is empty');
  expect(stderr).toMatch(new RegExp(`at +${at}\n +found +""\n`));
  expect(stderr).toMatch(/is the variable set/);
});

test('a text, and a path in an image, may be empty', () => {
  const command = new Command('x').option('--label <text>').option('--path <path>').argument('[file]');
  command.action(() => refuseEmptyNames(command));
  expect(() => command.parse(['--label', '', '--path', ''], { from: 'user' })).not.toThrow();
  expect(() => command.parse([''], { from: 'user' })).toThrow('a name is empty');
});

test('what every value of an option is called, so that a new word makes somebody think of this', () => {
  const commands = withSubcommands(makeProgram(CONTEXT, false));
  const words = commands.flatMap(({ options }) =>
    options.flatMap(({ flags }) => /<([^>.]+)/.exec(flags)?.[1] ?? []),
  );
  expect([...new Set(words)].toSorted().join(' ')).toBe(
    'address:port answer bytes fault file fingerprint folder format header hex host how list name number ' +
      'password path seconds sha256 size task text url user uuid when',
  );
});
