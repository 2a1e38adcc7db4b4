import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PatchVdiError, isPatchVdiError } from '../../errors.js';
import { temporaryName } from '../../io/dead-outputs.js';
import type { ImageFormat } from '../../plan/plan.js';
import type { ToolEnvironment } from '../../tools/find.js';
import { FILESYSTEMS, type FilesystemName } from '../../tools/mke2fs.js';
import { makePrivateFolder } from '../../tools/private-folder.js';
import { FAULTS } from '../faults/catalogue.js';
import { TRUSTED, type Expected, type Fault, type Shape } from '../faults/fault.js';
import { KEYRING_NAMES, KitKeys, type KeyringName } from '../kit-keys.js';
import { checkFaultySizes } from '../make-faulty-vdi.js';
import { makeImage } from '../make-image.js';
import { designPatch } from '../make-patch.js';
import { refuseExisting, writeError } from '../new-folder.js';
import type { Seed } from '../seed.js';
import { UploadBench, type Upload } from '../uploads.js';
import { CONSUMER_OF_GOOD, goodImages } from './good-images.js';
import { manifestExpected, type Manifest, type ManifestImage } from './manifest.js';
import { suiteReadme } from './readme.js';

export interface SuiteOptions {
  /** The folder; must not exist. */
  readonly path: string;
  readonly formats: readonly ImageFormat[];
  readonly filesystems: readonly FilesystemName[];
  readonly seed: Seed;
  /** Of an ordinary upload, bytes. */
  readonly sizeBytes: number;
  /** Seconds since 1970 of every timestamp. */
  readonly epochSeconds: number;
  /** Who made it, and with what: for the manifest. */
  readonly madeBy: string;
  readonly tools: Readonly<Record<string, string>>;
  readonly environment: ToolEnvironment;
  readonly abortSignal?: AbortSignal | undefined;
  readonly onImage?: ((name: string, done: number, total: number) => void) | undefined;
}

/** One image to be made. */
interface Draft {
  readonly name: string;
  readonly shape: Shape;
  readonly fault: Fault | undefined;
  readonly what: string;
  readonly consumer: string;
  readonly keyring: KeyringName;
  readonly expected: Expected;
  readonly upload: (bench: UploadBench) => Promise<Upload>;
}

const IMAGE_FOLDER = 'images';
const KEY_FOLDER = 'keys';

/** A VHD is what a pool takes first; what can be shown on a raw disk is shown there, where every tool looks. */
const PREFERRED_FORMATS: Readonly<Record<Fault['layer'], readonly ImageFormat[]>> = {
  upload: ['vhd', 'raw', 'vhd-fixed'],
  disk: ['raw', 'vhd', 'vhd-fixed'],
  file: ['vhd', 'raw', 'vhd-fixed'],
};

/** The shapes in which a fault is in the suite: one, but a stream that breaks off is told apart in each format. */
function shapesOf(fault: Fault, { formats, filesystems }: SuiteOptions): Shape[] {
  const preferred = PREFERRED_FORMATS[fault.layer].filter(
    (format) => formats.includes(format) && fault.formats.includes(format),
  );
  const filesystem = FILESYSTEMS.find(
    (name) => filesystems.includes(name) && fault.filesystems.includes(name),
  );
  if (filesystem === undefined) return [];
  const isStream = fault.layer === 'file' && fault.isStream;
  return preferred.slice(0, isStream ? preferred.length : 1).map((format) => ({ format, filesystem }));
}

function faultDrafts(options: SuiteOptions): Draft[] {
  return FAULTS.flatMap((fault) => {
    const shapes = shapesOf(fault, options);
    return shapes.map((shape): Draft => {
      const { what, consumer, keyring } = fault;
      return {
        name: shapes.length > 1 ? `${fault.name}-${shape.format}` : fault.name,
        shape,
        fault,
        what,
        consumer,
        keyring,
        expected: fault.expected(shape),
        upload: (bench) => bench.signed(),
      };
    });
  });
}

function goodDrafts({ formats, filesystems }: SuiteOptions): Draft[] {
  const preferred = PREFERRED_FORMATS.upload.filter((format) => formats.includes(format));
  const wanted = FILESYSTEMS.filter((name) => filesystems.includes(name));
  return goodImages(preferred, wanted).map((image) => ({
    ...image,
    fault: undefined,
    consumer: CONSUMER_OF_GOOD,
    keyring: TRUSTED,
    upload: (bench) => image.upload(bench),
  }));
}

const fileName = ({ name, shape }: Draft): string => `${name}.${shape.format === 'raw' ? 'raw' : 'vhd'}`;

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

async function makeEntry(
  draft: Draft,
  folder: string,
  uploads: UploadBench,
  options: SuiteOptions,
): Promise<ManifestImage> {
  const { name, shape, fault, what, consumer, keyring, expected, upload } = draft;
  const { seed, epochSeconds, environment, abortSignal } = options;
  const file = `${IMAGE_FOLDER}/${fileName(draft)}`;
  const path = join(folder, file);
  const request = { path, name, shape, fault, upload, uploads, seed, epochSeconds };
  const made = await makeImage({ ...request, environment, abortSignal });
  const { signaturePath } = made.upload;
  const signature = signaturePath === undefined ? null : `${IMAGE_FOLDER}/${name}.sig`;
  if (signaturePath !== undefined) await copyFile(signaturePath, join(folder, `${IMAGE_FOLDER}/${name}.sig`));
  return {
    name,
    file,
    bytes: (await stat(path)).size,
    sha256: await sha256Of(path),
    announcedLength: made.announcedLength,
    ...shape,
    virtualSize: made.virtualSize,
    fault: fault?.name ?? null,
    family: fault?.family ?? null,
    what,
    consumer,
    keyring: `${KEY_FOLDER}/${keyring}`,
    signature,
    upload: { bytes: made.uploadBytes, sha256: made.uploadSha256 },
    expected: manifestExpected(expected),
  };
}

async function writeKeys(folder: string, keys: KitKeys): Promise<Manifest['keys']> {
  const words = [
    [KEYRING_NAMES.trusted, 'The keys that are trusted.', ['signer', 'second']],
    [KEYRING_NAMES.stranger, 'A key that nobody trusts: not to be given to a consumer.', ['stranger']],
    [KEYRING_NAMES.expired, 'A key that has expired, for one image only.', ['expired']],
  ] as const;
  await mkdir(join(folder, KEY_FOLDER));
  for (const [name] of words) {
    await writeFile(join(folder, KEY_FOLDER, name), keys.keyring(name));
    await writeFile(join(folder, KEY_FOLDER, name.replace(/gpg$/, 'asc')), keys.armoredKeyring(name));
  }
  return words.map(([name, what, roles]) => ({
    file: `${KEY_FOLDER}/${name}`,
    what,
    fingerprints: roles.map((role) => keys.fingerprint(role)),
  }));
}

async function fillFolder(folder: string, work: string, options: SuiteOptions): Promise<Manifest> {
  const { seed, sizeBytes, epochSeconds, abortSignal, onImage } = options;
  const keys = new KitKeys(seed);
  const uploads = new UploadBench({
    folder: work,
    design: designPatch({ seed }),
    sizeBytes,
    keys,
    abortSignal,
  });
  await mkdir(join(folder, IMAGE_FOLDER));
  const drafts = [...goodDrafts(options), ...faultDrafts(options)];
  const images: ManifestImage[] = [];
  for (const draft of drafts) {
    abortSignal?.throwIfAborted();
    onImage?.(draft.name, images.length, drafts.length);
    images.push(await makeEntry(draft, folder, uploads, options));
  }
  const manifest: Manifest = {
    manifestVersion: 1,
    madeBy: options.madeBy,
    seed,
    sourceDateEpoch: epochSeconds,
    tools: options.tools,
    keys: await writeKeys(folder, keys),
    images,
  };
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  await writeFile(join(folder, 'README.md'), suiteReadme(manifest));
  return manifest;
}

/**
 * Makes a folder of images, good ones and one for each fault, that says what each of them is and what is to come of
 * it. The folder gets its name when it is complete. The same options and the same versions of the tools make the same
 * bytes.
 *
 * @throws PatchVdiError `usage`, `space`, `tool`, `interrupted`; nothing is left behind then
 */
export async function makeSuite(options: SuiteOptions): Promise<Manifest> {
  checkFaultySizes(options.sizeBytes, undefined);
  const path = resolve(options.path);
  const what = 'the folder of the suite';
  await refuseExisting(path, what);
  const work = await makePrivateFolder(options.environment, 'suite');
  let unfinished: string | undefined;
  try {
    const temporary = temporaryName(path);
    await mkdir(temporary);
    unfinished = temporary;
    const manifest = await fillFolder(temporary, work, options);
    await refuseExisting(path, what);
    await rename(temporary, path);
    unfinished = undefined;
    return manifest;
  } catch (error) {
    if (options.abortSignal?.aborted === true && !isPatchVdiError(error)) {
      throw new PatchVdiError('interrupted', 'making the suite was stopped', { cause: error });
    }
    throw writeError(options.path, what, error);
  } finally {
    await rm(work, { recursive: true, force: true });
    if (unfinished !== undefined) await rm(unfinished, { recursive: true, force: true });
  }
}
