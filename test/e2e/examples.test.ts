/* The examples of the help that need no pool and no network, run by bash as they stand. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { EXAMPLES } from '../../src/cli/examples.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { CLI } from './cli.js';
import { makeWorkspace } from './workspace.js';

/** A pool, a service, a network, another machine, a device; "apply" has tests of its own that may run patches. */
const NEEDS_MORE = /^(patch-vdi (pool|upload|serve|apply)\b|curl|ssh)|https:|\/dev\/|\bssh\b|pool upload/;

const lines = Object.entries(EXAMPLES).flatMap(([name, examples]) =>
  examples.map(([line]) => [name, line] as const).filter(([, text]) => !NEEDS_MORE.test(text)),
);

const work = makeWorkspace();
afterAll(() => work.remove());
beforeEach((context) => requireTool(context, 'bash', 'gpgv', 'groff'));

function bash(script: string) {
  const program = [
    'set -euo pipefail',
    `patch-vdi() { '${process.execPath}' '${CLI}' "$@"; }`,
    `export HOME='${work.folder}' TMPDIR='${work.tmp}'`,
    `cd '${work.folder}'`,
    script,
  ].join('\n');
  return runJudge('bash', ['--norc', '-c', program]);
}

/** What the examples are about, made by the test kit. */
beforeAll(() => {
  const made = bash(`
    patch-vdi test key -o keys --seed 1
    cp keys/keyring.gpg keys.gpg
    patch-vdi test patch -o hotfix.xsupdate --size 1M --sign keys --seed 1
    patch-vdi test patch -o driver.sh --size 1M --sign keys --detached --seed 1
    build() { patch-vdi build hotfix.xsupdate --keyring keys.gpg --source-date-epoch 1600000000 "$@"; }
    build -o vdi.vhd; build -o a.vhd; build -o b.raw
    patch-vdi build hotfix.xsupdate --keyring keys.gpg -o c.vhd
    ls`);
  expect(made.exitCode, made.stderr).toBe(0);
});

/** The numbers and names that stand for those of the reader. */
function filledIn(line: string): string {
  const fingerprint = () => {
    const listed = runJudge('gpg', ['--with-colons', '--show-keys', `${work.folder}/keys.gpg`]).stdout;
    return /^fpr:+([0-9A-F]+):/m.exec(listed)?.[1] ?? 'no fingerprint';
  };
  const length = readFileSync(`${work.folder}/hotfix.xsupdate`).length;
  return line
    .replace('FINGERPRINT', fingerprint)
    .replace('734003200', String(length))
    .replace('man -l -', 'groff -man -Tutf8');
}

test('most commands have some', () => {
  expect(lines.length).toBeGreaterThan(35);
  expect(new Set(lines.map(([name]) => name)).size).toBeGreaterThan(14);
});

test.for(lines)('%s: %s', ([, line]) => {
  const before = 'rm -rf hotfix.vhd copy.xsupdate t.vhd* suite t.xsupdate driver.raw; ';
  const after =
    /driver\.raw/.test(line) && !line.includes(' build ')
      ? 'patch-vdi build driver.sh --signature driver.sh.sig --keyring keys.gpg -o driver.raw\n'
      : /--reproduce/.test(line)
        ? 'patch-vdi build hotfix.xsupdate -o hotfix.vhd --keyring keys.gpg\n'
        : '';
  const ended = bash(`${before}\n${after}${filledIn(line)}`);
  expect(ended.exitCode, `${ended.stdout}${ended.stderr}`).toBe(0);
});

test('one that fails is seen', () => {
  expect(bash('patch-vdi inspect nothing.vhd | cat').exitCode).not.toBe(0);
});
