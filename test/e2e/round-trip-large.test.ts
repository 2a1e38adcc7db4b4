import { beforeAll, afterAll, expect, test } from 'vitest';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { difference } from './judges/same-bytes.js';
import { MIB, writeUpload } from './uploads.js';
import { buildIn } from './ways-to-build.js';
import { makeWorkspace, workspace, type Workspace } from './workspace.js';

/** Four times 300 MiB. */
const VIRTUAL_SIZE = 1_258_291_200;

let inputs: Workspace;
let upload: string;
beforeAll(() => {
  inputs = makeWorkspace();
  upload = writeUpload(`${inputs.folder}/upload`, 300 * MIB);
});
afterAll(() => inputs.remove());

test('300 MiB from a pipe into a VHD file, and the same bytes through a pipe', async (context) => {
  requireImageJudges(context);
  const work = workspace();
  const image = await buildIn(work, upload, 'vhd', ['pipe', 'file']);
  const streamed = await buildIn(work, upload, 'vhd', ['redirection', 'pipe']);
  // Their order in the file is the same; only the order of writing differs.
  expect(difference(streamed, image)).toBeUndefined();
  await expectPatchDisk(streamed, 'vhd', upload, VIRTUAL_SIZE);
});

test('300 MiB from a file into a raw file', async (context) => {
  requireImageJudges(context);
  const work = workspace();
  await expectPatchDisk(await buildIn(work, upload, 'raw', ['file', 'file']), 'raw', upload, VIRTUAL_SIZE);
});

test('300 MiB from a pipe, spooled, into a raw image behind >', async (context) => {
  requireImageJudges(context);
  const work = workspace();
  const image = await buildIn(work, upload, 'raw', ['pipe', 'redirection']);
  await expectPatchDisk(image, 'raw', upload, VIRTUAL_SIZE);
});
