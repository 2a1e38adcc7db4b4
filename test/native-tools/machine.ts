import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { knownTools, type KnownTool, type PackageManager } from '../../src/tools/find.js';
import { packageFile } from '../../src/tools/package-files.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { makeProgram, makeProgramOfVersion } from './fake-programs.js';

const SCRIPT = packageFile('native-tools/install.sh');

/** A machine in a folder. */
export interface Machine {
  /** The only folder of PATH: package managers, sudo, id. */
  readonly commands: string;
  /** The only folder in which native programs are looked for. */
  readonly tools: string;
  readonly log: string;
}

export interface MachineOptions {
  readonly managers?: readonly PackageManager[];
  readonly root?: boolean;
  readonly sudo?: boolean;
}

/** What a package manager does when it is called; `$1` is the verb. Default: works. */
type ManagerScript = 'works' | 'fails' | 'update fails' | 'installs old versions';

/** A machine whose package managers write down their arguments and install by making fake programs. */
export function makeMachine(options: MachineOptions = {}, behaviour: ManagerScript = 'works'): Machine {
  const folder = temporaryFolder();
  const machine = { commands: join(folder, 'bin'), tools: join(folder, 'tools'), log: join(folder, 'log') };
  writeFileSync(machine.log, '');
  makeProgram(machine.commands, 'id', `echo ${options.root === false ? 1000 : 0}`);
  symlinkSync('/usr/bin/env', join(machine.commands, 'env'));
  if (options.sudo === true) makeProgram(machine.commands, 'sudo', `echo "sudo $*" >>"$LOG"\nexec "$@"`);
  for (const manager of options.managers ?? ['apt']) {
    const name = manager === 'apt' ? 'apt-get' : manager;
    makeProgram(machine.commands, name, managerScript(name, manager, folder, behaviour));
  }
  return machine;
}

function managerScript(
  name: string,
  manager: PackageManager,
  folder: string,
  behaviour: ManagerScript,
): string {
  const store = join(folder, `store-${manager}`);
  const version = behaviour === 'installs old versions' ? '1.42.9' : '9.9.1';
  for (const tool of knownTools()) {
    if (tool.packages[manager] === '-') continue;
    makeProgramOfVersion(join(store, tool.packages[manager]), tool.program, version);
  }
  const lines = [`echo "${name} $*" >>"$LOG"`];
  if (behaviour === 'fails') lines.push('echo "E: the archive is on fire" >&2; exit 100');
  if (behaviour === 'update fails') lines.push('[ "$1" = update ] && exit 100');
  lines.push(`/bin/mkdir -p '${join(folder, 'tools')}'`);
  lines.push(
    `for word in "$@"; do [ ! -d "${store}/$word" ] || /bin/cp "${store}/$word"/* '${join(folder, 'tools')}'; done`,
  );
  return lines.join('\n');
}

/** Those tools, in a version that will do. */
export function putTools(machine: Machine, tools: readonly KnownTool[]): void {
  for (const tool of tools) makeProgramOfVersion(machine.tools, tool.program, '9.9.1');
}

/** What install.sh did there. */
export interface Installed {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Of package managers and sudo: their names and arguments. */
  readonly calls: readonly string[];
}

/** Runs install.sh on that machine, under a shell: a program and its first arguments. */
export function installUnder(shell: readonly string[], machine: Machine, ...options: string[]): Installed {
  const [program = '', ...rest] = shell;
  const result = spawnSync(program, [...rest, SCRIPT, ...options], {
    encoding: 'utf8',
    env: { PATH: machine.commands, PATCH_VDI_TOOLS_PATH: machine.tools, LOG: machine.log },
  });
  const calls = readFileSync(machine.log, 'utf8').split('\n').slice(0, -1);
  return { exitCode: result.status, stdout: result.stdout, stderr: result.stderr, calls };
}

export function install(machine: Machine, ...options: string[]): Installed {
  return installUnder(['/bin/sh'], machine, ...options);
}
