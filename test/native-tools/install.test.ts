import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_SEARCH_PATH, knownTools, type PackageManager } from '../../src/tools/find.js';
import { packageFile } from '../../src/tools/package-files.js';
import { makeProgram, makeProgramOfVersion } from './fake-programs.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { install, makeMachine, putTools, type Machine } from './machine.js';

const SCRIPT = packageFile('native-tools/install.sh');
const APT_INSTALL = 'apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=120 e2fsprogs gpgv';

const buildTools = () => knownTools().filter((tool) => tool.neededFor === 'build');

describe('when nothing is missing', () => {
  test('it runs nothing and exits 0', () => {
    const machine = makeMachine({ root: false });
    putTools(machine, buildTools());
    expect(install(machine)).toEqual({
      exitCode: 0,
      stdout: 'patch-vdi: all native programs are here\n',
      stderr: '',
      calls: [],
    });
  });

  test('--dev wants the programs of the tests too', () => {
    const machine = makeMachine();
    putTools(machine, buildTools());
    expect(install(machine, '--dev', '--check').exitCode).toBe(1);
    putTools(machine, knownTools());
    expect(install(machine, '--dev', '--check')).toMatchObject({ exitCode: 0, calls: [] });
  });

  test('--apply wants the programs of apply, and not those of the tests', () => {
    const machine = makeMachine();
    putTools(machine, buildTools());
    const { exitCode, stdout } = install(machine, '--apply', '--check');
    expect(exitCode).toBe(1);
    expect(stdout).toContain('unshare: not found');
    expect(stdout).not.toContain('qemu-img');
    putTools(
      machine,
      knownTools().filter((tool) => tool.neededFor === 'apply'),
    );
    expect(install(machine, '--apply', '--check')).toMatchObject({ exitCode: 0, calls: [] });
  });

  test('the real programs of this machine are found without a variable', () => {
    const result = spawnSync('/bin/sh', [SCRIPT, '--check'], { encoding: 'utf8', env: { PATH: '/nowhere' } });
    expect(result).toMatchObject({
      status: 0,
      stdout: 'patch-vdi: all native programs are here\n',
      stderr: '',
    });
  });
});

describe('when something is missing', () => {
  const expectedCalls: ReadonlyArray<[PackageManager, string[]]> = [
    ['apt', ['apt-get update', APT_INSTALL]],
    ['dnf', ['dnf install --assumeyes e2fsprogs gnupg2']],
    ['apk', ['apk add --no-cache e2fsprogs e2fsprogs-extra gnupg']],
  ];
  test.each(expectedCalls)('%s is asked once for exactly the packages', (manager, calls) => {
    const result = install(makeMachine({ managers: [manager] }));
    expect(result).toMatchObject({ exitCode: 0, stderr: '', calls });
    expect(result.stdout).toContain('mke2fs: not found, 1.45 or later is needed; it formats the template\n');
    expect(result.stdout).toMatch(/patch-vdi: all native programs are here\n$/);
  });

  test('brew is asked as a normal user, without sudo', () => {
    const result = install(makeMachine({ managers: ['brew'], root: false, sudo: true }));
    expect(result).toMatchObject({ exitCode: 0, calls: ['brew install e2fsprogs gnupg'] });
  });

  test('brew is never run as root', () => {
    const result = install(makeMachine({ managers: ['brew'], root: true }));
    expect(result).toMatchObject({ exitCode: 1, calls: [] });
    expect(result.stderr).toContain('As your own user: brew install e2fsprogs gnupg');
  });

  test('the first of apt, dnf, apk and brew is taken', () => {
    const result = install(makeMachine({ managers: ['brew', 'apk', 'dnf', 'apt'] }));
    expect(result.calls).toEqual(['apt-get update', APT_INSTALL]);
  });

  test('only what is missing is installed', () => {
    const machine = makeMachine();
    putTools(
      machine,
      buildTools().filter((tool) => tool.program !== 'gpgv'),
    );
    expect(install(machine).calls.at(-1)).toMatch(/ gpgv$/);
    expect(install(machine).calls).toHaveLength(2);
  });

  test('what it does is said before it is done', () => {
    const { stdout } = install(makeMachine());
    const said = ['installing with apt: e2fsprogs gpgv', '+ apt-get update', '+ env DEBIAN_FRONTEND='];
    const places = said.map((text) => stdout.indexOf(text));
    expect(places.every((place) => place >= 0)).toBe(true);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
  });

  test('--check names it, exits 1 and runs nothing', () => {
    const result = install(makeMachine(), '--check');
    expect(result).toMatchObject({ exitCode: 1, stderr: '', calls: [] });
    expect(result.stdout).toContain('gpgv: not found');
    expect(result.stdout).toContain(`DEBIAN_FRONTEND=noninteractive ${APT_INSTALL}`);
  });

  test('a program that this package manager does not have is skipped with a note', () => {
    const result = install(makeMachine({ managers: ['brew'], root: false }), '--dev');
    expect(result).toMatchObject({ exitCode: 0 });
    expect(result.stdout).toContain(
      'losetup: not found; it makes block devices out of files (needs root) (skipped: brew has',
    );
    expect(result.calls).toEqual([
      'brew install e2fsprogs gnupg qemu hyperfine genext2fs zip unzip openssl libxml2 python3 bash zsh groff jq sevenzip sleuthkit',
    ]);
  });

  test('without a package manager it says what to install', () => {
    const result = install(makeMachine({ managers: [] }));
    expect(result).toMatchObject({ exitCode: 1, calls: [] });
    expect(result.stderr).toContain('install these yourself: mke2fs debugfs e2fsck gpgv');
  });
});

describe('root', () => {
  test('sudo is used by a normal user', () => {
    const result = install(makeMachine({ root: false, sudo: true }));
    expect(result.exitCode).toBe(0);
    expect(result.calls).toEqual([
      'sudo apt-get update',
      'apt-get update',
      `sudo env DEBIAN_FRONTEND=noninteractive ${APT_INSTALL}`,
      APT_INSTALL,
    ]);
  });

  test('without sudo the command to run as root is printed', () => {
    const result = install(makeMachine({ root: false }));
    expect(result).toMatchObject({ exitCode: 1, calls: [] });
    expect(result.stderr).toContain(
      `As root: apt-get update && DEBIAN_FRONTEND=noninteractive ${APT_INSTALL}\n`,
    );
  });
});

describe('versions', () => {
  const tooOld = (machine: Machine, version: string) => {
    putTools(machine, buildTools());
    makeProgramOfVersion(machine.tools, 'mke2fs', version);
    return install(machine, '--check');
  };

  test.each(['1.45', '1.45.0', '1.45-WIP', '1.100', '2.0'])('mke2fs %s will do', (version) => {
    expect(tooOld(makeMachine(), version).exitCode).toBe(0);
  });

  test.each(['1.42.9', '1.44.99', '1.9', '0.99'])('mke2fs %s is too old', (version) => {
    const result = tooOld(makeMachine(), version);
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toContain(`mke2fs is too old (${version}), 1.45 or later is needed`);
  });

  test('a program that does not say its version is reported', () => {
    const machine = makeMachine();
    putTools(machine, buildTools());
    makeProgram(machine.tools, 'gpgv', 'echo "gpgv: libgcrypt.so.20: cannot open" >&2; exit 127');
    const result = install(machine, '--check');
    expect(result.exitCode).toBe(1);
    expect(result.stdout).toContain('gpgv does not say its version, 2.2 or later is needed');
  });

  test('a program that reads its standard input does not swallow the list', () => {
    const machine = makeMachine();
    putTools(machine, buildTools());
    makeProgram(machine.tools, 'mke2fs', '/bin/cat >/dev/null; echo "mke2fs 1.47.0"');
    expect(install(machine, '--check').exitCode).toBe(0);
  });
});

describe('failures', () => {
  test('the message of the package manager stays visible, and what is missing is named', () => {
    const result = install(makeMachine({}, 'fails'));
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('E: the archive is on fire');
    expect(result.stderr).toContain('still missing: mke2fs debugfs e2fsck gpgv');
    expect(result.stderr).toContain(APT_INSTALL);
  });

  test('apt-get update may fail if the packages can be had anyway', () => {
    const result = install(makeMachine({}, 'update fails'));
    expect(result).toMatchObject({ exitCode: 0, calls: ['apt-get update', APT_INSTALL] });
    expect(result.stderr).toContain('apt-get update failed');
  });

  test('an archive with too old versions only is a failure', () => {
    const result = install(makeMachine({}, 'installs old versions'));
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('mke2fs is too old (1.42.9), 1.45 or later is needed');
  });

  test.each(['--bad', 'e2fsprogs', '-h', ''])('option "%s" is refused', (option) => {
    const result = install(makeMachine(), option);
    expect(result).toMatchObject({ exitCode: 2, stdout: '', calls: [] });
    expect(result.stderr).toContain(`unknown option ${option}`);
  });

  test('a script without its list says so', () => {
    const lonely = join(temporaryFolder(), 'install.sh');
    copyFileSync(SCRIPT, lonely);
    const result = spawnSync('/bin/sh', [lonely], { encoding: 'utf8' });
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('this script and its list belong together');
  });
});

describe('the list', () => {
  test('the script looks in the folders of DEFAULT_SEARCH_PATH', () => {
    const lines = readFileSync(SCRIPT, 'utf8').match(/^default_search_path=.*$/gm) ?? [];
    const { stdout } = spawnSync('/bin/sh', ['-c', `${lines.join('\n')}\nprintf %s "$default_search_path"`], {
      encoding: 'utf8',
    });
    expect(stdout.split(':')).toEqual(DEFAULT_SEARCH_PATH);
  });

  test('each row is complete, and no program is listed twice', () => {
    const rows = readFileSync(packageFile('native-tools/tools.tsv'), 'utf8')
      .split('\n')
      .filter((row) => row !== '' && !row.startsWith('#'));
    for (const row of rows) {
      const columns = row.split('\t');
      expect(columns, row).toHaveLength(8);
      // install.sh splits them at spaces and hands them to a shell for people.
      for (const word of columns.slice(0, 7)) expect(word).toMatch(/^[a-z0-9][a-z0-9.+-]*$|^-$/);
      expect(columns[2]).toMatch(/^(build|apply|test)$/);
    }
    const programs = knownTools().map((tool) => tool.program);
    expect(new Set(programs).size).toBe(programs.length);
  });

  test('--help tells the options', () => {
    const { status, stdout } = spawnSync('/bin/sh', [SCRIPT, '--help'], { encoding: 'utf8' });
    expect(status).toBe(0);
    for (const option of ['--apply', '--dev', '--check', 'PATCH_VDI_TOOLS_PATH'])
      expect(stdout).toContain(option);
  });
});
