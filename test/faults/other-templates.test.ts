import { expect, test } from 'vitest';
import { runCli } from '../e2e/cli.js';
import { uploadBytes } from '../e2e/uploads.js';
import { workspace } from '../e2e/workspace.js';
import { fakeTools, realTool } from './fake-tools.js';

/*
 * An mke2fs that makes something else than it was asked for, without a word: what the image would then lack, or promise
 * wrongly, was shown by an attack. Each of these is a good file system to e2fsck.
 */

/** The real mke2fs, after a change to our configuration. */
const withConfiguration = (edit: string): string =>
  `sed -i '${edit}' "$MKE2FS_CONFIG"; exec ${realTool('mke2fs')} "$@"`;

test.each([
  [
    'a journal, whose blocks the image would lack',
    's/,sparse_super2/,sparse_super2,has_journal/',
    'compatible features',
  ],
  [
    'backups of the superblock, which would not be sealed',
    's/,sparse_super2/,sparse_super/',
    'compatible features',
  ],
  ['no checksums', 's/metadata_csum,//', 'read-only compatible features'],
])('a template with %s is refused', async (_, edit, found) => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(5000));
  const env = fakeTools(work, { mke2fs: withConfiguration(edit) });
  const args = ['build', upload, '--allow-unsigned', '-o', work.output('x.raw')];
  const { exitCode, stderr } = await runCli(work, args, { env });
  expect(exitCode, stderr).toBe(7);
  expect(stderr).toContain(found);
  expect(work.outputs()).toEqual([]);
});

test('sabotage: the same wrapper without a change builds', async () => {
  const work = workspace();
  const upload = work.input('upload', uploadBytes(5000));
  const env = fakeTools(work, { mke2fs: withConfiguration('') });
  const args = ['build', upload, '--allow-unsigned', '-o', work.output('x.raw')];
  const { exitCode, stderr } = await runCli(work, args, { env });
  expect(exitCode, stderr).toBe(0);
});
