/*
 * Completion and manual page, judged by the shells and by groff: bash completes for real, zsh reads and loads its
 * script, groff has nothing to complain about.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { EXAMPLES } from '../../src/cli/examples.js';
import { FAULTS } from '../../src/kit/faults/catalogue.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { runCli } from './cli.js';
import { workspace } from './workspace.js';

async function printed(...args: readonly string[]): Promise<string> {
  const ended = await runCli(workspace(), args);
  expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
  return ended.stdout;
}

describe('bash', () => {
  beforeEach((context) => requireTool(context, 'bash'));

  /** What bash offers after those words, the last of which is not finished. */
  function offered(script: string, words: readonly string[], folder = '/'): string[] {
    const file = join(temporaryFolder(), 'completion');
    writeFileSync(file, script);
    const program = [
      'source "$1"; shift',
      'compopt() { :; }',
      'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))',
      `cd ${folder}; _patch_vdi; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ].join('\n');
    const ended = runJudge('bash', ['--norc', '-c', program, 'bash', file, 'patch-vdi', ...words]);
    expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
    return ended.stdout.split('\n').filter((word) => word !== '');
  }

  test('offers commands, sub-commands, options, choices and files', async () => {
    const script = await printed('completion', 'bash');
    expect(offered(script, ['in'])).toEqual(['inspect']);
    expect(offered(script, ['pool', 'vdi-d'])).toEqual(['vdi-destroy']);
    expect(offered(script, ['build', '--target'])).toEqual(['--target-is-zeroed']);
    expect(offered(script, ['build', '--format', ''])).toEqual(['raw', 'vhd', 'vhd-fixed']);
    expect(offered(script, ['build', '--format', '=', 'vhd-'])).toEqual(['vhd-fixed']);
    expect(offered(script, ['build', '--format', '='])).toEqual(['raw', 'vhd', 'vhd-fixed']);
    expect(offered(script, ['completion', ''])).toEqual(['bash', 'zsh']);
    expect(offered(script, ['test', 'vdi', '--fault', 'superblock-'])).toContain('superblock-zeroed');
    expect(offered(script, ['test', 'vdi', '--fault', ''])).toHaveLength(FAULTS.length);
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'a file.vhd'), '');
    expect(offered(script, ['inspect', 'a'], folder)).toEqual(['a file.vhd']);
    expect(offered(script, ['build', '--keyring', 'a'], folder)).toEqual(['a file.vhd']);
    // A value that is called like a command is none.
    expect(offered(script, ['build', '-o', 'pool', '--target'])).toEqual(['--target-is-zeroed']);
    expect(offered(script, ['nothing-of-ours'])).toEqual([]);
  });

  test('a script that is broken is seen', () => {
    expect(runJudge('bash', ['-n', '-c', 'case x in']).exitCode).not.toBe(0);
  });
});

describe('zsh', () => {
  beforeEach((context) => requireTool(context, 'zsh'));

  test('reads and loads its script, which knows every command', async () => {
    const script = await printed('completion', 'zsh');
    const file = join(temporaryFolder(), '_patch-vdi');
    writeFileSync(file, script);
    expect(runJudge('zsh', ['-n', file])).toMatchObject({ exitCode: 0, stderr: '' });
    const program =
      'autoload -U compinit; compinit -u -D; source $1; print $_comps[patch-vdi]; print -l ${(ok)functions[(I)_patch_vdi*]}';
    const loaded = runJudge('zsh', ['-f', '-c', program, 'zsh', file]);
    expect(loaded.exitCode, loaded.stderr).toBe(0);
    const [completes, ...functions] = loaded.stdout.trim().split('\n');
    expect(completes).toBe('_patch_vdi');
    expect(functions).toContain('_patch_vdi_build');
    expect(functions).toContain('_patch_vdi_pool_vdi_destroy');
    // The judge can fail.
    expect(runJudge('zsh', ['-n', '-c', 'case x in']).exitCode).not.toBe(0);
  });
});

describe('zsh, as somebody types', () => {
  beforeEach((context) => requireTool(context, 'zsh'));

  /** What zsh offers after those words, the last of which is not finished: on a terminal of its own, with a tab. */
  function offered(script: string, words: string): string[] {
    const folder = temporaryFolder();
    writeFileSync(join(folder, '_patch-vdi'), script);
    writeFileSync(join(folder, 'one.vhd'), '');
    // Every word that is offered goes through compadd, which says with -O which of them match.
    const record = `compadd() { builtin compadd -O found "$@"; print -rl -- $found >> ${folder}/offers; builtin compadd "$@" }`;
    const program = `
      zmodload zsh/zpty; cd ${folder}; : > offers
      zpty -b shell zsh -f -i
      zpty -w shell "PS1= PS2= RPS1=; stty cols 80 rows 200; fpath=(${folder} \\$fpath); LISTMAX=0"
      zpty -w shell "autoload -U compinit; compinit -u -D; patch-vdi() { : }"
      # The tab says when the words have been offered; keys that wait would end it early.
      zpty -w shell "tell() { zle complete-word; : > ${folder}/done }; zle -N tell; bindkey '^I' tell"
      zpty -w shell '${record}'
      zpty -w -n shell "patch-vdi ${words}"$'\\t'
      for ((i = 0; i < 300; i++)); do [[ -e done ]] && break; sleep 0.1; done
      zpty -d shell
      [[ -e done ]] && cat offers`;
    const ended = runJudge('zsh', ['-f', '-c', program]);
    expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
    return [...new Set(ended.stdout.split('\n').filter((word) => word !== ''))].toSorted();
  }

  test('offers what bash offers', async () => {
    const script = await printed('completion', 'zsh');
    expect(offered(script, 'completion ')).toEqual(['bash', 'zsh']);
    expect(offered(script, 'build --format ')).toEqual(['raw', 'vhd', 'vhd-fixed']);
    expect(offered(script, 'pool vdi-d')).toEqual(['vdi-destroy']);
    expect(offered(script, 'build --target')).toEqual(['--target-is-zeroed']);
    expect(offered(script, 'inspect on')).toEqual(['one.vhd']);
    expect(offered(script, 'nothing-of-ours ')).toEqual([]);
  });
});

describe('the manual page', () => {
  beforeEach((context) => requireTool(context, 'groff'));

  const judge = (page: string) => {
    const file = join(temporaryFolder(), 'page.1');
    writeFileSync(file, page);
    return runJudge('groff', ['-man', '-ww', '-Tutf8', '-P-cbou', '-rLL=200n', file]);
  };

  test('is what groff takes without a word, and says what the help says', async () => {
    const page = judge(await printed('manual'));
    expect(page).toMatchObject({ exitCode: 0, stderr: '' });
    expect(page.stdout).toContain('--target-is-zeroed');
    expect(page.stdout).toContain('patch-vdi pool vdi-copy');
    expect(page.stdout).toMatch(/EXIT STATUS[^]*signature: missing, wrong/);
    expect(page.stdout).toMatch(/ENVIRONMENT[^]*SOURCE_DATE_EPOCH/);
    // Examples arrive as they are typed.
    const examples = /\nEXAMPLES\n([^]*)\nEXIT STATUS\n/.exec(page.stdout)?.[1] ?? '';
    for (const [line] of Object.values(EXAMPLES).flat()) {
      for (const part of line.split('\n')) expect(examples).toContain(part.trim().replaceAll('…', '...'));
    }
    expect(judge('.TH x\n.nosuchrequest\n').stderr).not.toBe('');
  });
});
