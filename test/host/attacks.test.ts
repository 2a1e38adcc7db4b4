/* One attack a test, against the same bench of keys and images: long, as the list of attacks is. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { takeClearText } from '../../src/host/clear-text.js';
import { requireMountable } from '../../src/host/mountable.js';
import type { MountHolder } from '../../src/tools/mount-holder.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { ask, change } from '../oracles/debugfs.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { OpenPgpBench } from '../signature/openpgp-bench.js';
import { fixtureNames, unpackFixture } from '../ext/fixture-images.js';
import {
  INFO,
  buildImage,
  expectNothingLeft,
  hostBench,
  patchText,
  requireHost,
  signed,
  type HostBench,
} from './host-bench.js';

beforeEach((context) => requireHost(context));

const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: '/nowhere' };

/** A bench whose patch leaves a trace when any part of it runs. */
async function tracedBench(): Promise<HostBench & { readonly ran: () => boolean }> {
  const ran = join(temporaryFolder(), 'ran');
  const bench = await hostBench({ info: `touch '${ran}'; echo '${INFO}'`, apply: `touch '${ran}'` });
  return { ...bench, ran: () => existsSync(ran) };
}

describe('the file patch', () => {
  test.for([
    ['a symbolic link', ['rm /patch', 'symlink /patch /etc/passwd']],
    ['a link to the real one', ['ln /patch /real', 'unlink /patch', 'symlink /patch real']],
    ['a FIFO', ['rm /patch', 'mknod /patch p']],
    ['a character device', ['rm /patch', 'mknod /patch c 1 5']],
    ['a block device', ['rm /patch', 'mknod /patch b 7 0']],
    ['a folder', ['rm /patch', 'mkdir /patch']],
    ['not there', ['rm /patch']],
    ['empty', ['sif /patch size 0']],
    ['on blocks that are free', ['freeb 1000']],
  ] as const)('%s: refused, and nothing runs', async ([name, commands]) => {
    const bench = await tracedBench();
    const first = /\(0[^)]*\):(\d+)/.exec(ask(bench.image, 'stat /patch'))?.[1] ?? '';
    change(bench.image, ...commands.map((command) => command.replace('1000', first)));
    await expect(bench.apply(), name).rejects.toMatchObject({
      kind: expect.stringMatching(/^(?:image|signature)$/),
    });
    expect(bench.ran()).toBe(false);
    expectNothingLeft(bench);
  });

  test('two of that name in the folder: refused, whichever the kernel would take', async () => {
    // ext2: no checksum has to be made right.
    const bench = await hostBench({}, { filesystem: 'ext2' });
    change(bench.image, 'write /dev/null patcx');
    const content = readFileSync(bench.image);
    const at = content.indexOf('patcx');
    expect(at).toBeGreaterThan(0);
    content.write('patch', at);
    writeFileSync(bench.image, content);
    await expect(bench.apply()).rejects.toMatchObject({
      kind: 'image',
      message: expect.stringMatching(/directory-entry-twice/),
    });
    expectNothingLeft(bench);
  });

  test('setuid and writable for all: it is not what runs', async () => {
    const bench = await hostBench({ apply: 'stat -c "%a %u" "$0"; stat -c "%a" ../patch' });
    change(bench.image, 'sif /patch mode 0106777');
    expect(await bench.apply()).toMatchObject({ kind: 'applied', output: '555 0\n6777\n' });
    expectNothingLeft(bench);
  });

  test.for(['link', 'fifo', 'folder', 'nothing'] as const)(
    'a kernel that sees a %s where we saw a file: refused at once, also without our reader',
    async (kind) => {
      const outside = temporaryFolder();
      const patch = join(outside, 'patch');
      if (kind === 'link') symlinkSync('/etc/passwd', patch);
      if (kind === 'fifo') spawnSync('mkfifo', [patch]);
      if (kind === 'folder') mkdirSync(patch);
      const holder = { outside, inside: outside } as MountHolder;
      const seen = { sha256: '', size: 0 };
      const taking = takeClearText({ holder, policy: { keyrings: ['/none'] }, environment, seen });
      await expect(taking).rejects.toMatchObject({
        kind: 'image',
        message: expect.stringMatching(/regular file/),
      });
    },
  );

  test('a kernel that reads other bytes than we do, signed as they may be: refused', async () => {
    const bench = await hostBench({});
    const outside = mkdtempSync(join(bench.folder, 'mount-'));
    writeFileSync(join(outside, 'patch'), await signed(patchText({})));
    const holder = { outside, inside: outside } as MountHolder;
    const options = {
      holder,
      policy: { keyrings: [bench.keyring] },
      environment: { ...environment, temporaryFolder: bench.scratch },
    };
    const taking = takeClearText({ ...options, seen: { sha256: '0'.repeat(64), size: 1 } });
    await expect(taking).rejects.toMatchObject({
      kind: 'image',
      message: expect.stringMatching(/another patch/),
    });
    // What was written to disk is not executable.
    const folder = readdirSync(outside).find((name) => name !== 'patch') ?? '';
    expect(statSync(join(outside, folder, 'patch')).mode % 0o1000).toBe(0o600);
  });
});

describe('the image', () => {
  test('replaced after it was copied: the private copy is what is checked, verified and run', async () => {
    const bench = await hostBench({ apply: 'echo the first' });
    const other = join(bench.folder, 'other');
    await buildImage(other, await signed(patchText({ apply: 'echo the second' })));
    const outcome = await bench.apply({
      onProgress: ({ phase }) => {
        if (phase !== 'copy' && existsSync(other)) writeFileSync(bench.image, readFileSync(other));
      },
    });
    expect(outcome).toMatchObject({ kind: 'applied', output: 'the first\n' });
    expectNothingLeft(bench);
  });

  test('changed while it is copied: what comes of it must be signed as it is', async () => {
    const bench = await tracedBench();
    const offset = readFileSync(bench.image).indexOf('#!/bin/sh');
    expect(offset).toBeGreaterThan(0);
    const changing = bench.apply({
      onProgress: ({ phase, bytes }) => {
        if (phase !== 'copy' || bytes !== undefined) return;
        const content = readFileSync(bench.image);
        content.write('#!/bin/SH', offset);
        writeFileSync(bench.image, content);
      },
    });
    await expect(changing).rejects.toMatchObject({ kind: 'signature' });
    expect(bench.ran()).toBe(false);
    expectNothingLeft(bench);
  });

  test('with a fault that only e2fsck finds is refused', async () => {
    const bench = await tracedBench();
    change(bench.image, 'sif /patch links_count 5');
    await expect(bench.apply()).rejects.toMatchObject({
      kind: 'image',
      message: expect.stringMatching(/e2fsck/),
      context: { found: expect.stringMatching(/ref count is 5, should be 1/) },
    });
    expect(bench.ran()).toBe(false);
    expectNothingLeft(bench);
  });

  test('that says panic in its superblock is mounted read-only on errors, and nothing worse', async () => {
    const bench = await hostBench({ apply: 'grep "$(dirname "$(pwd)") " /proc/self/mountinfo' });
    change(bench.image, 'ssv errors 3');
    const outcome = await bench.apply();
    expect(outcome).toMatchObject({ kind: 'applied', output: expect.stringMatching(/errors=remount-ro/) });
    expectNothingLeft(bench);
  });

  test('that brings mount options along is refused', async () => {
    const bench = await tracedBench();
    change(bench.image, 'ssv mount_opts errors=panic');
    await expect(bench.apply()).rejects.toMatchObject({ kind: 'image', context: { found: 'errors=panic' } });
    expect(bench.ran()).toBe(false);
  });

  /** Names by hand, from fixtures/ext/README.md: what they have that no patch disk needs, or what is wrong with them. */
  const REFUSED = [
    'ext3-needs-recovery',
    'ext4-needs-recovery',
    'ext4-fast-commit',
    'ext4-bigalloc',
    'ext4-bigalloc-4k',
    'ext4-casefold',
    'ext4-ea-inode',
    'ext4-encrypt',
    'ext4-external-journal',
    'ext4-inline-data',
    'ext4-inline-data-in-attribute',
    'ext4-inline-data-with-blocks',
    'ext4-large-dir',
    'ext4-mmp',
    'ext4-orphans',
    'ext4-project',
    'ext4-quota',
    'ext4-stable-inodes',
    'ext4-unknown-compatible',
    'ext4-unknown-read-only-compatible',
    'ext4-verity',
    'refused-compression',
    'refused-dirdata',
    'refused-empty-disk',
    'refused-journal-device',
    'refused-no-superblock',
    'refused-unknown-incompat',
  ];
  const TAKEN = [
    'ext2-1k',
    'ext2-2k',
    'ext2-4k',
    'ext2-revision-0',
    'ext3-1k',
    'ext3-4k',
    'ext4-1k',
    'ext4-4k',
    'ext4-meta-bg-4k',
    'ext4-metadata-csum-seed',
    'ext4-no-64bit',
    'ext4-no-extent',
    'ext4-no-flex-bg',
    'ext4-orphan-file',
    'ext4-sparse-super2',
    'ext4-uninit-bg',
  ];

  test('the lists name fixtures that there are', () => {
    expect([...REFUSED, ...TAKEN].filter((name) => !fixtureNames().includes(name))).toEqual([]);
  });

  test.for(REFUSED)('%s never gets to the kernel', async (name) => {
    const path = unpackFixture(name, temporaryFolder());
    await expect(requireMountable(path, name, environment, undefined)).rejects.toMatchObject({
      kind: 'image',
    });
  });

  test.for(TAKEN)('%s may be mounted', async (name) => {
    const path = unpackFixture(name, temporaryFolder());
    expect(await requireMountable(path, name, environment, undefined)).toMatchObject({
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });
});

describe('a patch', () => {
  /** In the background: what is said is how it leaves. */
  const STAYS: ReadonlyArray<readonly [string, string]> = [
    ['in the background', 'sleep 300 &'],
    ['in a session of its own', 'setsid sleep 300 &'],
    ['after forking twice', '(setsid sh -c "sleep 300 & sleep 300" & )'],
    ['with no way to ask it', `setsid sh -c "trap '' TERM INT HUP; sleep 300 & wait; sleep 300" &`],
    ['with a file of the mount open', 'setsid sleep 300 <"$0" &'],
    ['in a mount namespace of its own', 'setsid unshare --mount sleep 300 & sleep 0.3'],
    [
      'by starting itself again and again',
      'setsid sh -c "while :; do setsid sleep 300 & sleep 0.01; done" & sleep 0.3',
    ],
    ['with our pipes', 'setsid sleep 300 >&1 2>&2 &'],
  ];

  test.for(STAYS)('that stays %s is dead at the end', async ([, command]) => {
    const bench = await hostBench({ apply: `${command}\necho done` });
    expect(await bench.apply()).toMatchObject({ kind: 'applied', output: 'done\n' });
    expectNothingLeft(bench);
  });

  test('whose info or precheck leaves something running is not helped by it', async () => {
    const bench = await hostBench({
      info: `setsid sleep 300 & echo '${INFO}'`,
      precheck: 'setsid sleep 300 &',
    });
    expect(await bench.apply()).toMatchObject({ kind: 'applied' });
    expectNothingLeft(bench);
  });

  test('that fills the scratch space fails by itself, and the disk of the host is not filled', async () => {
    const bench = await hostBench({
      apply: 'cat /dev/zero >"$TMPDIR/fill" || { echo full; rm "$TMPDIR/fill"; exit 9; }',
    });
    expect(await bench.apply()).toMatchObject({
      kind: 'applyFailed',
      ending: { kind: 'exit', exitCode: 9 },
      output: expect.stringMatching(/No space left on device\nfull\n$/),
    });
    expectNothingLeft(bench);
  });

  test('that fills it and leaves it so is cleaned up, too', async () => {
    const bench = await hostBench({ apply: 'cat /dev/zero >"$TMPDIR/fill"' });
    expect(await bench.apply()).toMatchObject({ kind: 'applyFailed' });
    expectNothingLeft(bench);
  });

  test('that prints 1 GiB is not killed for it: its first and last words are kept', async () => {
    const bench = await hostBench({ apply: 'echo begin; head -c 1073741824 /dev/zero; echo; echo end' });
    const before = process.memoryUsage().rss;
    const outcome = await bench.apply();
    const grown = process.memoryUsage().rss - before;
    if (outcome.kind !== 'applied') throw new Error(JSON.stringify(outcome).slice(0, 500));
    expect(outcome.output.length).toBeLessThan(1024 * 1024 + 100);
    expect(outcome.output.startsWith('begin\n')).toBe(true);
    expect(outcome.output.endsWith('\nend\n')).toBe(true);
    expect(outcome.output).toContain(`\n[${1073741824 + 11 - 1024 * 1024} bytes left out]\n`);
    expect(grown).toBeLessThan(256 * 1024 * 1024);
    expectNothingLeft(bench);
  });

  test('whose precheck prints without need passes all the same', async () => {
    const bench = await hostBench({ precheck: 'head -c 10000000 /dev/zero' });
    const outcome = await bench.precheck();
    expect(outcome.kind).toBe('precheckPassed');
    expect(outcome.output.length).toBeLessThan(64 * 1024 + 100);
    expectNothingLeft(bench);
  });

  test('that kills its parent is ended, and has failed', async () => {
    const survived = join(temporaryFolder(), 'survived');
    const bench = await hostBench({ apply: `kill -9 $PPID; sleep 2; touch '${survived}'` });
    expect(await bench.apply()).toMatchObject({
      kind: 'applyFailed',
      ending: { kind: 'signal', signal: 'SIGKILL' },
    });
    expectNothingLeft(bench);
    expect(existsSync(survived)).toBe(false);
  });

  test('that kills everything in its namespace, also what holds the mount, leaves nothing', async () => {
    const apply = `setsid sleep 300 &
mine=$(stat -L -c %i /proc/$$/ns/mnt)
for entry in $(stat -L -c %i:%n /proc/[0-9]*/ns/mnt 2>/dev/null); do
  pid=\${entry#*:/proc/}; pid=\${pid%%/*}
  case $entry in "$mine":*) [ "$pid" = $$ ] || [ "$pid" = $! ] || kill -9 "$pid" ;; esac
done
sleep 300`;
    const bench = await hostBench({ apply });
    expect(await bench.apply()).toMatchObject({
      kind: 'applyFailed',
      ending: { kind: 'signal', signal: 'SIGKILL' },
    });
    expectNothingLeft(bench);
  });

  test('that unmounts itself lazily leaves nothing', async () => {
    const bench = await hostBench({ apply: 'umount -l "$(dirname "$(pwd)")"; setsid sleep 300 & echo gone' });
    expect(await bench.apply()).toMatchObject({ kind: 'applied', output: 'gone\n' });
    expectNothingLeft(bench);
  });

  test('that ignores SIGTERM is killed after the grace', async () => {
    const bench = await hostBench({ apply: `trap '' TERM; while :; do sleep 1; done` });
    expect(await bench.apply({ limits: { applyMilliseconds: 1000, graceMilliseconds: 300 } })).toMatchObject({
      kind: 'applyFailed',
      ending: { kind: 'timeout' },
    });
    expectNothingLeft(bench);
  });
});

test('two signatures: both must be known', async () => {
  const gpg = new OpenPgpBench();
  onTestFinished(() => gpg.close());
  const [alice, bob] = [gpg.key('Alice <alice@example.org>'), gpg.key('Bob <bob@example.org>')];
  const upload = gpg.sign(Buffer.from(patchText({})), [alice, bob]);
  const bench = await hostBench(upload);
  const both = { keyrings: [gpg.keyring([alice, bob])] };
  await expect(bench.apply({ policy: { keyrings: [gpg.keyring([alice])] } })).rejects.toMatchObject({
    kind: 'signature',
  });
  const others = { ...both, signers: ['0'.repeat(40)] };
  await expect(bench.apply({ policy: others })).rejects.toMatchObject({ kind: 'signature' });
  const bobs = { ...both, signers: [bob.fingerprint] };
  expect(await bench.apply({ policy: bobs })).toMatchObject({ kind: 'applied', signatures: [{}, {}] });
  expectNothingLeft(bench);
});
