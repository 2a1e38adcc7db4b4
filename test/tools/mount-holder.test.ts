import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { openMountHolder, MOUNT_FOLDER, type MountHolder } from '../../src/tools/mount-holder.js';
import { runInMount } from '../../src/tools/run-in-mount.js';
import { expectNoRemains, remainsOf, requireHost } from '../host/host-bench.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

beforeEach((context) => requireHost(context));

const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: '/nowhere' };

function place(content?: Buffer): { folder: string; imagePath: string; workFolder: string } {
  const folder = temporaryFolder();
  const imagePath = join(folder, 'image');
  const workFolder = join(folder, 'patch-vdi-test-of-holder');
  mkdirSync(join(workFolder, MOUNT_FOLDER), { recursive: true });
  writeFileSync(imagePath, content ?? Buffer.alloc(4 * 1024 * 1024));
  if (content === undefined) {
    const made = spawnSync('mke2fs', ['-q', '-F', '-t', 'ext4', imagePath], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(made.stderr);
  }
  return { folder, imagePath, workFolder };
}

const run = (holder: MountHolder, script: string) =>
  runInMount({
    holder,
    folder: holder.inside,
    program: ['/bin/sh', '-c', script],
    variables: { PATH: DEFAULT_SEARCH_PATH.join(':') },
    timeoutMilliseconds: 20_000,
    keep: { first: 4096, last: 0 },
    oneOutput: false,
  });

test('both sides see the same files, the host sees none, and afterwards nothing is there', async () => {
  const { folder, imagePath, workFolder } = place();
  const holder = await openMountHolder({ imagePath, workFolder, environment });
  writeFileSync(join(holder.outside, 'from-outside'), 'hello');
  expect(await run(holder, 'cat from-outside; echo words >&2; echo x >from-inside; exit 3')).toEqual({
    exitCode: 3,
    signal: undefined,
    stdout: 'hello',
    stderr: 'words\n',
    droppedBytes: 0,
    timedOut: false,
  });
  expect(readFileSync(join(holder.outside, 'from-inside'), 'utf8')).toBe('x\n');
  expect(readdirSync(join(workFolder, MOUNT_FOLDER))).toEqual([]);
  expect(await holder.close()).toBeUndefined();
  expect(await holder.close()).toBeUndefined();
  expect([existsSync(workFolder), existsSync(imagePath), remainsOf(folder)]).toEqual([false, true, []]);
});

test('what is no file system: the words of mount, and nothing is left', async () => {
  const { folder, imagePath, workFolder } = place(Buffer.alloc(1024 * 1024));
  await expect(openMountHolder({ imagePath, workFolder, environment })).rejects.toMatchObject({
    kind: 'image',
    context: { found: expect.stringMatching(/mount: .*wrong fs type/) },
  });
  await expectNoRemains(folder);
  expect(existsSync(workFolder)).toBe(false);
});

test('a program that is missing is named before anything', async () => {
  const { folder, imagePath, workFolder } = place();
  const poor = { ...environment, searchPath: [folder] };
  await expect(openMountHolder({ imagePath, workFolder, environment: poor })).rejects.toMatchObject({
    kind: 'tool',
  });
  expect(readdirSync(workFolder)).toEqual([MOUNT_FOLDER]);
});

test('nothing is started in a namespace that is being given up', async () => {
  const { folder, imagePath, workFolder } = place();
  const holder = await openMountHolder({ imagePath, workFolder, environment });
  // What the holder does first when its input ends.
  rmSync(holder.tokenPath);
  expect(await run(holder, 'echo ran')).toMatchObject({ exitCode: 125, stdout: '' });
  await holder.close();
  expect(remainsOf(folder)).toEqual([]);
});

test('a holder that was killed: what runs in its namespace is found and ended all the same', async () => {
  const { folder, imagePath, workFolder } = place();
  const holder = await openMountHolder({ imagePath, workFolder, environment });
  const script = `setsid sleep 300 & for p in $(pgrep -f '${workFolder}'); do [ $p = $PPID ] || [ $p = $$ ] || [ $p = ${process.pid} ] || kill -9 $p; done; echo killed`;
  expect(await run(holder, script)).toMatchObject({ exitCode: 0, stdout: 'killed\n' });
  expect(await holder.close()).toBeUndefined();
  expect(remainsOf(folder)).toEqual([]);
});
