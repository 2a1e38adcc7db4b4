/*
 * Every command of the pages is run, as it is written but for the names of hosts and places (test/docs/scene.ts), or it
 * stands below with the reason why not. What begins with patch-vdi is parsed by the real commands, as it is written.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Workspace } from '../e2e/workspace.js';
import { requireHost } from '../host/host-bench.js';
import { requireTool } from '../oracles/require-tool.js';
import { parseFault } from './command-line.js';
import { commandsOf, outputsOf, ownCommandLines, type DocCommand } from './commands.js';
import { allPages } from './pages.js';
import { preparedFolder, removeOutputs, scene, type CommandEnd, type Scene } from './scene.js';

vi.setConfig({ testTimeout: 240_000 });

const pages = allPages().filter(({ path }) =>
  /^(?:README|CONTRIBUTING)\.md$|^docs\/|^native-tools\//.test(path),
);
const commands = pages.flatMap(commandsOf);

/** Commands that are not run here, and why. */
const NOT_RUN: readonly (readonly [command: RegExp, reason: string])[] = [
  [
    /^npm (?:test|run [\w:-]+)\b/,
    'it is what runs this test, or takes minutes; the script must exist (names.test.ts)',
  ],
  [
    /^npm run setup && npm pack && npm install --global/,
    'it changes this machine; test/package/ installs the tarball',
  ],
  [/^npx vitest run\b/, 'a test within a test; the files must exist (names.test.ts)'],
  [
    /^patch-vdi build .*-o \/dev\/xvdb\b/,
    'there is no such device; test/e2e/device-build.test.ts has loop devices',
  ],
  [/^patch-vdi serve .*--join /, 'it takes a second host; test/mission/two-hosts.test.ts has one'],
];

/** Servers: they are started, must say that they serve, and are stopped. */
const SERVES = /^patch-vdi serve\b/;

/** Commands that do not end with 0 here, and why. */
const EXITS: readonly (readonly [page: string, command: RegExp, exitCode: number, reason: string])[] = [
  ['docs/pool.md', /^patch-vdi pool cancel TASK/, 2, 'nothing is under way that could be cancelled'],
  ['docs/pool.md', /^patch-vdi pool destroy UUID/, 8, 'the page has applied it before: such a patch stays'],
  [
    'docs/upload.md',
    /^patch-vdi pool vdi-destroy/,
    2,
    'the copy that the page has made before has the same name',
  ],
];

const notRun = ({ text }: DocCommand): boolean => NOT_RUN.some(([pattern]) => pattern.test(text));

/** Until it says that it serves, or has ended. It has a state of its own beside that of the scene's server. */
async function runServer(bench: Scene, text: string): Promise<CommandEnd> {
  // An older one's words would end the wait before the new one has said anything.
  const start = `rm -f own.said; ${text} --state own --listen 127.0.0.1:0 >own.log 2>own.said & server=$!`;
  const wait = 'until grep -qs "certificate" own.said || ! kill -0 $server; do sleep 0.1; done';
  return await bench.run(`${start}; ${wait}; kill -TERM $server; wait $server; cat own.said >&2`);
}

function expectedExit({ page, text }: DocCommand): number {
  return EXITS.find(([where, pattern]) => where === page && pattern.test(text))?.[2] ?? 0;
}

/** What is wrong with the end of a command. */
function faultOf(command: DocCommand, { exitCode, stdout, stderr }: CommandEnd): string[] {
  const where = `${command.page}:${command.line}: ${command.text}`;
  const isServer = SERVES.test(command.text);
  if (isServer && !/serves https:/.test(stderr)) return [`${where}: serves nothing: ${stderr}`];
  if (!isServer && exitCode !== expectedExit(command))
    return [`${where}: exit ${exitCode}: ${stderr}${stdout.slice(-500)}`];
  const shown = command.output === undefined ? undefined : shapeOf(command.text, command.output);
  const is = shapeOf(command.text, stdout);
  return shown === undefined || shown === is ? [] : [`${where}: prints another page:\n${is}\n${shown}`];
}

/** What does not change from run to run: of a page of fields their names, of a plan all but the spaces. */
function shapeOf(command: string, output: string): string {
  const lines = output.trimEnd().split('\n');
  if (command.startsWith('patch-vdi plan'))
    return lines.map((line) => line.replaceAll(/\s+/g, ' ')).join('\n');
  return lines.flatMap((line) => /^ {2}(\S.*?) {2,}\S/.exec(line)?.[1] ?? []).join('\n');
}

async function runAll(bench: Scene, list: readonly DocCommand[]): Promise<string[]> {
  const faults: string[] = [];
  for (const command of list) {
    if (notRun(command)) continue;
    removeOutputs(bench.folder, outputsOf(command.text));
    const ended = SERVES.test(command.text)
      ? await runServer(bench, command.text)
      : await bench.run(command.text);
    faults.push(...faultOf(command, ended));
  }
  return faults;
}

const JUDGES = [
  'curl',
  'jq',
  'unzip',
  'zip',
  'strace',
  'qemu-img',
  'e2fsck',
  'debugfs',
  'dumpe2fs',
  'gpg',
  'gpgv',
];

beforeEach((context) => {
  requireTool(context, ...JUDGES);
  requireHost(context);
});

let prepared: Workspace;

beforeAll(async () => {
  prepared = await preparedFolder();
});

afterAll(() => prepared.remove());

describe('every command of a page does what it says', () => {
  test.each(
    pages.map(({ path }) => path).filter((path) => commands.some((one) => one.page === path && !notRun(one))),
  )('%s', async (path) => {
    const list = commands.filter(({ page }) => page === path);
    const bench = await scene(
      prepared,
      list.map(({ text }) => text),
    );
    expect(await runAll(bench, list)).toEqual([]);
  });
});

test('every command line of ours would be taken as it is written', async () => {
  const faults: string[] = [];
  const lines = commands.flatMap(({ page, text }) => ownCommandLines(text).map((words) => ({ page, words })));
  for (const { page, words } of lines) {
    const fault = await parseFault(words);
    if (fault !== undefined) faults.push(`${page}: patch-vdi ${words.join(' ')}: ${fault}`);
  }
  expect(faults).toEqual([]);
  expect(lines.length).toBeGreaterThan(60);
});

test('the lists of exceptions hold nothing that no page has any more', () => {
  const isUsed = (pattern: RegExp, where?: string): boolean =>
    commands.some(({ page, text }) => pattern.test(text) && (where === undefined || where === page));
  expect(NOT_RUN.filter(([pattern]) => !isUsed(pattern)).map(String)).toEqual([]);
  expect(EXITS.filter(([where, pattern]) => !isUsed(pattern, where)).map(String)).toEqual([]);
});

test('sabotage: commands that fail, that print something else, or that nobody knows, are found', async () => {
  const text = [
    '```sh',
    'patch-vdi inspect vdi.vhd   # well',
    'patch-vdi inspect none.vhd',
    'cat hotfix.xsupdate | \\',
    '    patch-vdi build - --nonsense > x.vhd',
    'no-such-program',
    '```',
    '```',
    '$ patch-vdi inspect vdi.vhd',
    'vdi.vhd',
    '  colour       blue',
    '```',
  ].join('\n');
  const list = commandsOf({ path: 'x.md', text });
  expect(list.map(({ line }) => line)).toEqual([2, 3, 4, 6, 9]);
  expect(ownCommandLines(list[2]?.text ?? '')).toEqual([['build', '-', '--nonsense']]);
  const faults = await runAll(await scene(prepared, []), list);
  expect(faults.map((fault) => fault.split(':', 2).join(':'))).toEqual([
    'x.md:3',
    'x.md:4',
    'x.md:6',
    'x.md:9',
  ]);
});
