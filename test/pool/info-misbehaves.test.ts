import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { expect, test } from 'vitest';
import { filesOf, refused, signedMessage, testPool, upload } from './test-pool.js';

const INFO =
  '<info uuid="0d8a2f0c-6c3e-4a53-9f0e-5d5c1a7b9e11" version="1" name-label="n" name-description="d"/>';

/** Correctly signed, and yet no patch: what it is called, its clear text, what the error says. */
const BAD_PATCHES: ReadonlyArray<readonly [string, string, string | RegExp]> = [
  ['exits 1', '#!/bin/sh\necho out; echo err >&2; exit 1\n', 'info ended with exit code 1\nerr\nout'],
  [
    'has DOS line endings',
    '#!/bin/sh\nif true; then\r\necho\r\nfi\r\n',
    /exit code 2 \(of a script this may mean DOS/,
  ],
  ['says nothing', '#!/bin/sh\n', /does not say what it is/],
  ['says something else', '#!/bin/sh\necho hello\n', /does not say what it is/],
  ['does not end', '#!/bin/sh\nsleep 300\n', 'info did not end within 3 seconds'],
  ['prints without end', '#!/bin/sh\nyes\n', /more than 65536 bytes/],
  ['kills itself', '#!/bin/sh\nkill -9 $$\n', 'info was ended by SIGKILL'],
  ['names a path as its uuid', `#!/bin/sh\necho '<info uuid="../../x"/>'\n`, /the UUID/],
];

test.for(BAD_PATCHES)(
  'a patch that %s is INVALID_PATCH_WITH_LOG, and nothing is left',
  async ([, clear, log]) => {
    const { pool, place } = await testPool({
      infoLimits: { timeoutMilliseconds: 3000, outputBytes: 65_536 },
    });
    const task = await pool.tasks.create('upload');
    const error = await refused(upload(pool, { bytes: await signedMessage(clear) }, { task }));
    expect(error.code).toBe('INVALID_PATCH_WITH_LOG');
    expect(error.parameters[0]).toMatch(log);
    expect([filesOf(place), pool.database.getAll('VDI'), pool.database.getAll('pool_patch')]).toEqual([
      [],
      [],
      [],
    ]);
    expect(pool.database.getRecord('task', task)).toMatchObject({
      status: 'failure',
      error_info: error.description,
    });
  },
);

test('a clear text that cannot be run is an INTERNAL_ERROR that says so', async () => {
  const { pool, place } = await testPool();
  const error = await refused(upload(pool, { bytes: await signedMessage('#!/no/such/shell\n') }));
  expect(error.code).toBe('INTERNAL_ERROR');
  expect(error.parameters[0]).toContain('the patch could not be started');
  expect(filesOf(place)).toEqual([]);
});

test('cancelled while info runs: TASK_CANCELLED at once, and nothing is left', async () => {
  const { pool, place } = await testPool();
  const task = await pool.tasks.create('upload');
  const uploading = refused(upload(pool, { bytes: await signedMessage('#!/bin/sh\nsleep 300\n') }, { task }));
  const scratch = () => readdirSync(place.sr('one')).find((name) => name.endsWith('.info.tmp'));
  const running = () => existsSync(join(place.sr('one'), scratch() ?? '', 'patch'));
  await expect.poll(running).toBe(true);
  await pool.tasks.cancel(task);
  expect((await uploading).description).toEqual(['TASK_CANCELLED', task]);
  expect([filesOf(place), pool.database.getAll('VDI')]).toEqual([[], []]);
});

test('info runs as nobody, beside its own file and nothing else, and what it leaves behind is dead and gone', async () => {
  const { pool, place } = await testPool();
  const clear = `#!/bin/sh
sleep 300 &
[ "$(ls -A)" = patch ] || exit 10
[ "$*" = info ] || exit 11
if [ "$(id -u)" = 65534 ]; then (echo x >>patch) 2>/dev/null && exit 12; fi
if [ "$(id -u)" = 0 ]; then exit 13; fi
echo '${INFO}'
`;
  const ref = await upload(pool, { bytes: await signedMessage(clear) });
  expect(pool.database.get('pool_patch', ref)).toMatchObject({ name_label: 'n', version: '1' });
  expect(filesOf(place)).toHaveLength(1);
  if (geteuid?.() !== 0) console.warn('SKIPPED: as this user info runs as this user');
  expect(readdirSync(place.state).sort()).toEqual([
    'lock',
    'patches',
    'state.journal',
    'state.journal.reserve',
    'tmp',
  ]);
});
