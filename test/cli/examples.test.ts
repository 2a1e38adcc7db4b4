/*
 * Every command has examples, and each of them is a line that this program takes: bash cuts it into words, the real
 * commands parse them, and nothing is run.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Help, type Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { EXAMPLES, examplesText, wordsTo } from '../../src/cli/examples.js';
import { makeProgram, withSubcommands } from '../../src/cli/make-program.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { CONTEXT } from './context.js';

function commandsByWords(program: Command): Map<string, Command> {
  return new Map(withSubcommands(program).map((command) => [wordsTo(command), command]));
}

/** What `patch-vdi` is called with in a line, as bash has it. No other program is found or run. */
function callsIn(line: string): string[][] {
  expect(line, 'writes only below the folder it is run in, or HOME').not.toMatch(/>\s*\//);
  const folder = temporaryFolder();
  const log = join(folder, 'calls');
  const program = [
    'PATH=/nowhere',
    `patch-vdi() { printf '%s\\0' "$@" >> '${log}'; printf '\\1\\0' >> '${log}'; }`,
    'command_not_found_handle() { :; }',
    `cd '${folder}'; HOME='${folder}'; : > hotfix.xsupdate; : > '${log}'`,
    // A folder that mkdir would have made.
    line.replaceAll(/> (?:\\\n\s+)?~\S+/g, '> out'),
    'wait',
  ].join('\n');
  runJudge('bash', ['--norc', '-c', program]);
  const words = readFileSync(log, 'utf8').split('\0').slice(0, -1);
  const calls: string[][] = [[]];
  for (const word of words) {
    if (word === '\u0001') calls.push([]);
    else calls.at(-1)?.push(word);
  }
  return calls.slice(0, -1);
}

/** Which command takes those words. @throws CommanderError */
function parse(words: readonly string[]): string {
  const program = makeProgram(CONTEXT, false);
  let reached: string | undefined;
  for (const [name, command] of commandsByWords(program)) {
    if (command.commands.length === 0) {
      command.action(() => {
        reached = name;
      });
    }
  }
  program.parse([...words], { from: 'user' });
  if (reached === undefined) throw new Error(`no command takes ${words.join(' ')}`);
  return reached;
}

const commands = commandsByWords(makeProgram(CONTEXT, false));

test('every command has examples, and no other word has', () => {
  expect(commands.size).toBeGreaterThan(35);
  expect(Object.keys(EXAMPLES).toSorted()).toEqual([...commands.keys()].toSorted());
  for (const examples of Object.values(EXAMPLES)) expect(examples.length).toBeGreaterThan(0);
});

test.for([...commands])('"%s --help" shows them, within 80 columns', ([name, command]) => {
  const help = new Help();
  help.helpWidth = 80;
  const text = Object.assign(help, command.configureHelp()).formatHelp(command, help);
  expect(text).toContain('\nExamples:\n');
  expect(text).toContain(examplesText(command));
  expect(
    examplesText(command)
      .split('\n')
      .filter((line) => line.length > 80),
  ).toEqual([]);
  for (const [line] of EXAMPLES[name] ?? []) expect(text).toContain(line.split('\n')[0]);
});

const lines = Object.entries(EXAMPLES).flatMap(([name, examples]) =>
  examples.map(([line]) => [name, line] as const),
);

test.for(lines)('%s: %s', ([name, line]) => {
  const calls = callsIn(line);
  if (line.startsWith('curl -T')) return expect(calls).toEqual([]);
  expect(calls).not.toEqual([]);
  const reached = calls.map(parse);
  // Of a command, or of one below it: "pool" has an example with "pool srs".
  expect(reached.some((words) => name === '' || words === name || words.startsWith(`${name} `))).toBe(true);
});

describe('the judge', () => {
  test.for([
    ['an option that is not there', ['build', 'x', '--nothing']],
    ['one argument too many', ['manual', 'x']],
    ['one too few', ['diff', 'a']],
    ['a choice that is none', ['completion', 'fish']],
    ['a group without a command', ['pool']],
  ] as const)('sees %s', ([, words]) => {
    expect(() => parse(words)).toThrow();
  });

  test('finds all calls of a line, with quoted words', () => {
    expect(callsIn("patch-vdi a 'b c' \\\n  d | patch-vdi e > x")).toHaveLength(2);
    expect(callsIn("nothing 'b c'")).toEqual([]);
    expect(callsIn("mkdir x && patch-vdi a 'b c'")).toEqual([['a', 'b c']]);
  });
});
