import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildPatchImage } from '../../src/build/build-image.js';
import { publicKeyring, makeTestKey } from '../../src/kit/test-key.js';
import { testKeySigner } from '../../src/kit/signer.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { patchInMemory } from '../kit/make.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

async function setUp() {
  const folder = temporaryFolder();
  const key = makeTestKey({ seed: '1' });
  const keyring = join(folder, 'keyring.gpg');
  writeFileSync(keyring, publicKeyring(key));
  const signing = { kind: 'message', signer: testKeySigner(key) } as const;
  const upload = join(folder, 'upload');
  writeFileSync(upload, await patchInMemory({ seed: '1' }, 100_000, signing));
  const options = {
    source: upload,
    sink: join(folder, 'image.raw'),
    format: 'raw',
    verify: { signature: { keyrings: [keyring] } },
    clearTextPath: join(folder, 'clear'),
    environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: temporaryFolder() },
  } as const;
  return { folder, keyring, upload, options };
}

test('a build hands out the clear text that gpgv writes by itself', async (context) => {
  requireTool(context, 'gpgv');
  const { folder, keyring, upload, options } = await setUp();
  await buildPatchImage(options);
  const judge = join(folder, 'judge');
  expect(runJudge('gpgv', ['--keyring', keyring, '--output', judge, upload]).exitCode).toBe(0);
  expect(readFileSync(options.clearTextPath).equals(readFileSync(judge))).toBe(true);
});

test('no clear text is left of a bad signature', async () => {
  const { folder, upload, options } = await setUp();
  const bytes = readFileSync(upload);
  bytes[50_000] = (bytes[50_000] ?? 0) ^ 1;
  writeFileSync(upload, bytes);
  await expect(buildPatchImage(options)).rejects.toMatchObject({ kind: 'signature' });
  expect(readdirSync(folder).sort()).toEqual(['keyring.gpg', 'upload']);
});

test('no clear text is left when the build fails after the verdict', async () => {
  const { folder, options } = await setUp();
  // The output's name appears meanwhile: that shows when all else is done.
  const onProgress = (): void => writeFileSync(options.sink, 'mine', { flag: 'a' });
  await expect(buildPatchImage({ ...options, onProgress })).rejects.toMatchObject({ kind: 'usage' });
  expect(readdirSync(folder).sort()).toEqual(['image.raw', 'keyring.gpg', 'upload']);
});

test('a name that is in use is refused, and stays', async () => {
  const { options } = await setUp();
  writeFileSync(options.clearTextPath, 'mine');
  await expect(buildPatchImage(options)).rejects.toMatchObject({ kind: 'usage' });
  expect(readFileSync(options.clearTextPath, 'utf8')).toBe('mine');
  expect(existsSync(options.sink)).toBe(false);
});
