import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { printRecipe, type RecipeRequest } from '../../src/host/recipe.js';
import { testKeySigner } from '../../src/kit/signer.js';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';
import { runScript, SHELLS, type Ran } from '../kit/shells.js';
import { change } from '../oracles/debugfs.js';
import { requireTool } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { OpenPgpBench } from '../signature/openpgp-bench.js';
import {
  INFO,
  KEY,
  STRANGER,
  expectNothingLeft,
  hostBench,
  patchText,
  remainsOf,
  requireHost,
  signed,
  type HostBench,
} from './host-bench.js';

beforeEach((context) => {
  requireHost(context);
  requireTool(context, ...PROGRAMS);
});

/** All that a recipe may need: of coreutils, and three others. */
const PROGRAMS =
  'cat chmod cp df env head id ln mkdir mktemp rm sleep stat timeout tr mount umount gpgv'.split(' ');

/** A folder with these programs and no others. */
function smallPath(programs: readonly string[] = PROGRAMS): string {
  const folder = temporaryFolder();
  for (const program of programs) {
    symlinkSync(findProgram(program, DEFAULT_SEARCH_PATH) ?? '', join(folder, program));
  }
  return folder;
}

function recipeFor(bench: HostBench, more: Partial<RecipeRequest> = {}): string {
  const path = join(bench.folder, 'recipe.sh');
  const { image, keyring, scratch } = bench;
  const request = { image, policy: { keyrings: [keyring] }, scratchFolder: scratch, timeoutSeconds: 60 };
  writeFileSync(path, printRecipe({ ...request, ...more }));
  return path;
}

const shellOf = ([program = '', ...rest]: readonly string[]): string[] => [
  findProgram(program, DEFAULT_SEARCH_PATH) ?? '',
  ...rest,
];

function run(script: string, args: readonly string[] = [], shell: readonly string[] = ['sh']): Ran {
  return runScript(shellOf(shell), script, args, { env: { PATH: smallPath() }, cwd: '/' });
}

const APPLY = 'echo "applied by $(id -u): $*"; ls -A; env | cut -d= -f1 | sort | tr "\\n" " "';

test.for(SHELLS)(
  'with nothing but coreutils, mount and gpgv, in %s: a good patch is applied, nothing is left',
  async (shell) => {
    const bench = await hostBench({ apply: APPLY });
    const ended = run(recipeFor(bench), [], shell);
    expect(ended, ended.stderr).toMatchObject({ exitCode: 0 });
    expect(ended.stdout).toMatch(/^applied by 0: apply\npatch\n/);
    expect(ended.stdout).toMatch(/\n(?:_ )?HOME LC_ALL (?:OLDPWD )?PATH PWD SHELL TMPDIR TZ (?:_ )?$/);
    expectNothingLeft(bench);
  },
);

test('as precheck it runs no apply', async () => {
  const ran = join(temporaryFolder(), 'ran');
  const bench = await hostBench({ precheck: 'echo fine', apply: `touch '${ran}'` });
  expect(run(recipeFor(bench), ['precheck'])).toMatchObject({ exitCode: 0, stdout: 'fine\n' });
  expect(existsSync(ran)).toBe(false);
  expectNothingLeft(bench);
});

test.for([
  ['its precheck says no', { precheck: 'echo "<error/>"; exit 1' }, 1],
  ['its apply fails', { apply: 'exit 1' }, 7],
  ['its apply does not end', { apply: 'sleep 100' }, 7],
] as const)('a patch that is not applied because %s', async ([, text, exitCode]) => {
  const bench = await hostBench(text);
  expect(run(recipeFor(bench, { timeoutSeconds: 5 }))).toMatchObject({ exitCode });
  expectNothingLeft(bench);
});

test('any path is only a path, and nothing of it is run', async () => {
  const bench = await hostBench({ apply: 'echo applied' });
  const name = `it's a "name" $(touch pwned) \`touch pwned\` ; touch pwned\n#\\ *`;
  const folder = join(bench.folder, name);
  mkdirSync(folder);
  const place = (file: string): string => join(folder, file);
  renameSync(bench.image, place('image'));
  renameSync(bench.keyring, place('keyring'));
  mkdirSync(place('scratch'));
  const recipe = recipeFor(bench, {
    image: place('image'),
    policy: { keyrings: [place('keyring')], signers: [testKeySigner(KEY).fingerprint] },
    scratchFolder: place('scratch'),
  });
  const ended = runScript(shellOf(['sh']), recipe, [], { env: { PATH: smallPath() }, cwd: bench.folder });
  expect(ended, ended.stderr).toMatchObject({ exitCode: 0, stdout: 'applied\n' });
  expect(readdirSync(bench.folder).filter((file) => file.includes('pwned') && file !== name)).toEqual([]);
  expect(readdirSync(place('scratch'))).toEqual([]);
  expect(remainsOf(bench.folder)).toEqual([]);
});

test('relative paths, also ones that look like options, are those of the folder it is started in', async () => {
  const bench = await hostBench({ apply: 'echo applied' });
  renameSync(bench.image, join(bench.folder, '-image'));
  renameSync(bench.keyring, join(bench.folder, '-keyring'));
  const recipe = recipeFor(bench, {
    image: '-image',
    policy: { keyrings: ['-keyring'] },
    scratchFolder: 'scratch',
  });
  const ended = runScript(shellOf(['sh']), recipe, [], { env: { PATH: smallPath() }, cwd: bench.folder });
  expect(ended, ended.stderr).toMatchObject({ exitCode: 0, stdout: 'applied\n' });
  expectNothingLeft(bench);
});

describe('what must not run', () => {
  async function expectRefused(
    bench: HostBench,
    exitCode: number,
    more: Partial<RecipeRequest> = {},
  ): Promise<Ran> {
    const ended = run(recipeFor(bench, more));
    expect(ended, ended.stderr).toMatchObject({ exitCode, stdout: '' });
    expectNothingLeft(bench);
    return ended;
  }
  const loud = patchText({ info: 'echo ran', precheck: 'echo ran', apply: 'echo ran' });

  test('signed by a stranger, by another than the signer, unsigned, changed, cut off', async () => {
    await expectRefused(await hostBench(await signed(loud, STRANGER)), 3);
    await expectRefused(await hostBench(Buffer.from(loud)), 3);
    const good = await signed(loud);
    const changed = Buffer.from(good);
    changed.write('#!/bin/SH', changed.indexOf('#!/bin/sh'));
    await expectRefused(await hostBench(changed), 3);
    await expectRefused(await hostBench(good.subarray(0, good.length - 20)), 3);
    const bench = await hostBench(good);
    await expectRefused(bench, 3, { policy: { keyrings: [bench.keyring], signers: ['0'.repeat(40)] } });
    await expectRefused(bench, 2, { policy: { keyrings: ['/nowhere'] } });
    await expectRefused(bench, 2, { image: '/nowhere' });
    await expectRefused(bench, 2, { image: '/dev/zero' });
    await expectRefused(bench, 2, { scratchFolder: '/nowhere' });
  });

  test('signed by keys for which gpgv exits with 0 and which must not be trusted: expired, revoked', async () => {
    const gpg = new OpenPgpBench();
    onTestFinished(() => gpg.close());
    const expired = gpg.key('Expired <expired@example.org>', 'ed25519', '30d', '20200101T000000!');
    const revoked = gpg.key('Revoked <revoked@example.org>');
    const byRevoked = gpg.sign(Buffer.from(loud), [revoked]);
    gpg.revoke(revoked);
    const byExpired = gpg.sign(Buffer.from(loud), [expired], '--faked-system-time', '20200105T000000!');
    const keyring = gpg.keyring([expired, revoked]);
    await expectRefused(await hostBench(byRevoked), 3, { policy: { keyrings: [keyring] } });
    const bench = await hostBench(byExpired);
    await expectRefused(bench, 3, { policy: { keyrings: [keyring] } });
    const lenient = recipeFor(bench, { policy: { keyrings: [keyring], allowExpiredKey: true } });
    expect(run(lenient)).toMatchObject({ exitCode: 0 });
  });

  test('signed with SHA-1, unless that is allowed', async () => {
    const gpg = new OpenPgpBench();
    onTestFinished(() => gpg.close());
    const rsa = gpg.key('Rsa <rsa@example.org>', 'rsa2048');
    const bench = await hostBench(
      gpg.sign(Buffer.from(loud), [rsa], '--digest-algo', 'SHA1', '--allow-weak-digest-algos'),
    );
    const keyring = gpg.keyring([rsa]);
    await expectRefused(bench, 3, { policy: { keyrings: [keyring] } });
    const lenient = recipeFor(bench, { policy: { keyrings: [keyring], allowWeakDigest: true } });
    expect(run(lenient)).toMatchObject({ exitCode: 0 });
  });

  test.for([
    ['a symbolic link', ['rm /patch', 'symlink /patch /etc/passwd']],
    ['a FIFO', ['rm /patch', 'mknod /patch p']],
    ['a device', ['rm /patch', 'mknod /patch c 1 5']],
    ['a folder', ['rm /patch', 'mkdir /patch']],
    ['not there', ['rm /patch']],
  ] as const)('a patch that is %s', async ([, commands]) => {
    const bench = await hostBench(await signed(loud));
    change(bench.image, ...commands);
    await expectRefused(bench, 6);
  });

  test('a dynamic VHD: it says what to give instead', async () => {
    const bench = await hostBench(await signed(loud), { format: 'vhd' });
    expect((await expectRefused(bench, 6)).stderr).toMatch(/dynamic VHD.*raw/);
  });

  test('an armoured keyring: it says how to make it binary', async () => {
    const bench = await hostBench(await signed(loud));
    writeFileSync(bench.keyring, '-----BEGIN PGP PUBLIC KEY BLOCK-----\n');
    expect((await expectRefused(bench, 2)).stderr).toContain('gpg --dearmor');
  });
});

test('a fixed VHD is as good as a raw image', async () => {
  const bench = await hostBench({}, { format: 'vhd-fixed' });
  expect(run(recipeFor(bench))).toMatchObject({ exitCode: 0, stdout: 'applied\n' });
  expectNothingLeft(bench);
});

test('where e2fsck is, a damaged copy is refused', async () => {
  const bench = await hostBench({});
  change(bench.image, 'sif /patch links_count 5');
  const env = { PATH: smallPath([...PROGRAMS, 'e2fsck']) };
  const ended = runScript(shellOf(['sh']), recipeFor(bench), [], { env, cwd: '/' });
  expect(ended).toMatchObject({ exitCode: 6, stdout: '' });
  expectNothingLeft(bench);
});

test('only root, and only with words that it knows', async () => {
  const bench = await hostBench({});
  const recipe = recipeFor(bench);
  expect(run(recipe, ['info'])).toMatchObject({ exitCode: 2, stdout: '' });
  expect(run(recipe, ['apply', 'apply'])).toMatchObject({ exitCode: 2, stdout: '' });
  const script = readFileSync(recipe, 'utf8');
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c', script];
  const ended = spawnSync('setpriv', nobody, { encoding: 'utf8' });
  expect(ended).toMatchObject({
    status: 2,
    stdout: '',
    stderr: 'recipe: only root can mount the image and apply the patch\n',
  });
  expectNothingLeft(bench);
});

test('ended by a signal it still cleans up', async () => {
  const began = join(temporaryFolder(), 'began');
  const bench = await hostBench({ info: `echo '${INFO}'`, apply: `touch '${began}'; sleep 1` });
  const child = spawn(shellOf(['sh'])[0] ?? '', [recipeFor(bench)], {
    env: { PATH: smallPath() },
    stdio: 'ignore',
  });
  await expect.poll(() => existsSync(began), { interval: 20 }).toBe(true);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([143, null]);
  expectNothingLeft(bench);
});

test('a URL, or a path with a NUL, is refused', () => {
  const request = { policy: { keyrings: ['k'] }, scratchFolder: '/tmp', timeoutSeconds: 1 };
  expect(() => printRecipe({ ...request, image: 'https://example.org/vdi' })).toThrow(/cannot fetch/);
  expect(() => printRecipe({ ...request, image: 'a\0b' })).toThrow(/NUL/);
  expect(() =>
    printRecipe({ ...request, image: 'a', policy: { keyrings: ['k'], signers: ['abc'] } }),
  ).toThrow(/fingerprint/);
});
