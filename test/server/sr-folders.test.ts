import {
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { FolderRepository } from '../../src/pool/folder-repository.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { USERS, place } from './server-place.js';

const ONE = '11111111-1111-4111-8111-111111111111';
const TWO = '22222222-2222-4222-8222-222222222222';

beforeEach((context) => requireTool(context, 'openssl', 'python3'));

const SRS = `${USERS}storage_repositories:
  - {name_label: one, path: one}
  - {name_label: two, path: two, uuid: ${TWO}, shared: true, default: true, quota: 1G, capabilities: []}
`;

test('SRs of a configuration get UUIDs once', async () => {
  const { folder, state, start } = place();
  const first = await start(SRS);
  const [one, two] = first.repositories;
  expect(two).toMatchObject({ uuid: TWO, nameLabel: 'two', shared: true, quotaBytes: 1_073_741_824 });
  expect(first.defaultSrUuid).toBe(TWO);
  expect(readdirSync(state)).not.toContain('sr');
  expect(readFileSync(join(folder, 'one', '.patch-vdi-sr.json'), 'utf8')).toContain(`"${one?.uuid}"`);
  expect((await start(SRS)).repositories.map(({ uuid }) => uuid)).toEqual([one?.uuid, TWO]);
  // The mark says it, too.
  rmSync(join(state, 'repositories.json'));
  expect((await start(SRS)).repositories.map(({ uuid }) => uuid)).toEqual([one?.uuid, TWO]);
  // The folder may get another name.
  renameSync(join(folder, 'one'), join(folder, 'moved'));
  const moved = await start(SRS.replace('path: one', 'path: moved'));
  expect(moved.repositories.map(({ uuid }) => uuid)).toEqual([one?.uuid, TWO]);
});

test('an SR whose file system is not mounted stays what it is, out of reach', async () => {
  const { folder, start } = place();
  const { repositories } = await start(SRS);
  renameSync(join(folder, 'one'), join(folder, 'elsewhere'));
  mkdirSync(join(folder, 'one'));
  const without = await start(SRS);
  expect(without.repositories).toEqual(
    repositories.map((one) => ({ ...one, now: expect.any(Function) as () => number })),
  );
  expect(without.warnings.join('\n')).toContain('the SR "one" is out of reach: its mark is missing');
  expect(readdirSync(join(folder, 'one'))).toEqual([]);
  const opened = without.repositories.map((options) => FolderRepository.open(options));
  expect(await Promise.all(opened.map((one) => one.isReachable()))).toEqual([false, true]);
  rmSync(join(folder, 'one'), { recursive: true });
  renameSync(join(folder, 'elsewhere'), join(folder, 'one'));
  expect((await start(SRS)).warnings.join('\n')).not.toContain('out of reach');
});

test('an SR whose folder cannot be read stays what it is, out of reach; a new one there is refused', async () => {
  const { folder, state, start, refused } = place();
  const { repositories } = await start(SRS);
  renameSync(join(folder, 'one'), join(folder, 'elsewhere'));
  symlinkSync('one', join(folder, 'one'));
  const without = await start(SRS);
  expect(without.repositories.map(({ uuid }) => uuid)).toEqual(repositories.map(({ uuid }) => uuid));
  expect(without.warnings.join('\n')).toContain('out of reach: its mark cannot be read (ELOOP)');
  const opened = without.repositories.map((options) => FolderRepository.open(options));
  expect(await Promise.all(opened.map((one) => one.isReachable()))).toEqual([false, true]);
  rmSync(join(state, 'repositories.json'));
  expect((await refused(SRS)).context.path).toBe(join(folder, 'one'));
});

test('another SR in the folder is not taken for the one that was there', async () => {
  const { folder, start, refused } = place();
  const { repositories } = await start(SRS);
  writeFileSync(join(folder, 'one', '.patch-vdi-sr.json'), `{ "uuid": "${ONE}" }\n`);
  const other = await start(SRS);
  expect(other.repositories[0]?.uuid).toBe(repositories[0]?.uuid);
  expect(other.warnings.join('\n')).toContain(`it has the mark of SR ${ONE}`);
  writeFileSync(join(folder, 'two', '.patch-vdi-sr.json'), `{ "uuid": "${ONE}" }\n`);
  expect(await refused(SRS)).toMatchObject({
    message: 'the folder belongs to another storage repository',
    context: { path: join(folder, 'two'), found: `SR ${ONE}`, expected: `SR ${TWO}` },
  });
});

test('two paths to one SR are refused', async () => {
  const { folder, start, refused } = place();
  await start(SRS);
  expect(runJudge('ln', ['-s', 'one', join(folder, 'link')]).exitCode).toBe(0);
  const error = await refused(`${SRS}  - {name_label: three, path: link}\n`);
  expect(error.message).toBe('the folder belongs to another storage repository');
});
