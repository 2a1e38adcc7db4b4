/*
 * Alpine's userland is busybox, and its C library musl. There is no Node for musl in the registry, so what of us runs
 * there without Node is tried under busybox's shell with busybox's programs: install.sh here, the recipe of a host and
 * the patches of the test kit in their own tests (test/kit/shells.ts). All else is JavaScript, without a native part
 * (test/package/content.test.ts).
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_SEARCH_PATH, findProgram, knownTools } from '../../src/tools/find.js';
import { requireTool } from '../oracles/require-tool.js';
import { installUnder, makeMachine, putTools, type Machine } from './machine.js';

const PROJECT = join(import.meta.dirname, '../..');

beforeEach((context) => requireTool(context, 'busybox'));

function busybox(): string {
  return findProgram('busybox', DEFAULT_SEARCH_PATH) ?? 'busybox';
}

/** Alpine with nothing installed: apk, and every program of busybox that it has not replaced. */
function makeAlpine(...behaviour: 'fails'[]): Machine {
  const machine = makeMachine({ managers: ['apk'] }, ...behaviour);
  const { stdout } = spawnSync(busybox(), ['--list'], { encoding: 'utf8' });
  const applets = stdout.split('\n').filter((name) => name !== '');
  expect(applets).toEqual(expect.arrayContaining(['sh', 'cp', 'mkdir', 'grep']));
  const there = new Set(readdirSync(machine.commands));
  for (const name of applets) if (!there.has(name)) symlinkSync(busybox(), join(machine.commands, name));
  return machine;
}

const install = (machine: Machine, ...options: string[]) =>
  installUnder([busybox(), 'sh'], machine, ...options);

describe('install.sh on Alpine', () => {
  test('asks apk once, for exactly the packages', () => {
    const result = install(makeAlpine());
    expect(result).toMatchObject({
      exitCode: 0,
      stderr: '',
      calls: ['apk add --no-cache e2fsprogs e2fsprogs-extra gnupg'],
    });
    expect(result.stdout).toContain('mke2fs: not found, 1.45 or later is needed; it formats the template\n');
    expect(result.stdout).toMatch(/patch-vdi: all native programs are here\n$/);
  });

  test('--dev asks for what the tests need, too', () => {
    const { exitCode, stderr, calls } = install(makeAlpine(), '--dev');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatch(/^apk add --no-cache e2fsprogs .* qemu-img .* busybox\b/);
  });

  test('does nothing where nothing is missing', () => {
    const machine = makeAlpine();
    putTools(machine, knownTools());
    expect(install(machine, '--dev')).toMatchObject({ exitCode: 0, stderr: '', calls: [] });
  });

  test('says what apk says when it fails, and what is missing', () => {
    const { exitCode, stderr } = install(makeAlpine('fails'));
    expect(exitCode).toBe(1);
    expect(stderr).toContain('E: the archive is on fire');
    expect(stderr).toContain('still missing: mke2fs debugfs e2fsck gpgv');
  });

  test('--check names what is missing and runs nothing', () => {
    const result = install(makeAlpine(), '--check');
    expect(result).toMatchObject({ exitCode: 1, stderr: '', calls: [] });
    expect(result.stdout).toContain('apk add --no-cache e2fsprogs e2fsprogs-extra gnupg');
  });
});

describe('every script of the project', () => {
  const scripts = readdirSync(PROJECT, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.sh') && !/(?:^|\/)(?:node_modules|dist)\//.test(name),
  );

  test.each(scripts)('%s is one for busybox and dash', (name) => {
    // Those for bash only say so.
    const shells = /^#!.*\bbash\b/.test(readFileSync(join(PROJECT, name), 'utf8'))
      ? [['bash']]
      : [[busybox(), 'sh'], ['dash']];
    for (const [program = '', ...rest] of shells) {
      const { status, stderr } = spawnSync(program, [...rest, '-n', join(PROJECT, name)], {
        encoding: 'utf8',
      });
      expect({ status, stderr }, program).toEqual({ status: 0, stderr: '' });
    }
  });
});
