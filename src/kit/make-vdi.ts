import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildPatchImage, type BuildResult } from '../build/build-image.js';
import { checkEpoch } from '../build/identity.js';
import type { ImageOptions, VerifyOption } from '../build/options.js';
import { FileSink } from '../io/file-sink.js';
import type { ToolEnvironment } from '../tools/find.js';
import { makePrivateFolder } from '../tools/private-folder.js';
import { openPatch, type PatchDesign, type PatchParts } from './patch-stream.js';
import { testKeySigner, type PatchSigner } from './signer.js';
import { makeTestKey, publicKeyring } from './test-key.js';

export interface VdiOptions {
  readonly design: PatchDesign;
  /** Exact size of the patch, bytes. */
  readonly patchBytes: number;
  /** The image: a new file. */
  readonly path: string;
  readonly force: boolean;
  /** Shape of the disk; its `sourceDateEpoch` is also when the key was made and used. */
  readonly image: ImageOptions;
  /**
   * Who signs, and the keyring that knows the signature; the signer stays the caller's. Default: a key made from the
   * design's seed, whose keyring is put beside the image as `PATH.keyring.gpg`.
   */
  readonly signing?: { readonly signer: PatchSigner; readonly keyring: string } | undefined;
  readonly environment: ToolEnvironment;
  readonly abortSignal?: AbortSignal | undefined;
}

export interface MadeVdi {
  readonly image: BuildResult;
  readonly patch: PatchParts;
  /** Path of the keyring that verifies the patch. */
  readonly keyring: string;
  readonly fingerprint: string;
}

/** Signs while the image is built from the very bytes; nothing is kept in between. */
async function build(
  options: VdiOptions,
  signer: PatchSigner,
  verify: VerifyOption,
): Promise<{ image: BuildResult; patch: PatchParts }> {
  const { design, patchBytes, path, force, environment, abortSignal } = options;
  const patch = await openPatch(design, patchBytes, { kind: 'message', signer }, abortSignal);
  const image = await buildPatchImage({
    ...options.image,
    source: patch.bytes(),
    contentLength: patchBytes,
    sink: { path, force },
    verify,
    environment,
    signal: abortSignal,
  });
  return { image, patch: patch.parts };
}

/**
 * Key, patch and image in one go. The image is verified and sealed as any other; it gets its name when it is complete,
 * and the keyring right after it.
 *
 * @throws PatchVdiError of every kind but `image`; nothing is left under either name then
 */
export async function makeTestVdi(options: VdiOptions): Promise<MadeVdi> {
  const { signing, design, path, force, environment, image } = options;
  if (signing !== undefined) {
    const { signer, keyring } = signing;
    const made = await build(options, signer, { signature: { keyrings: [keyring] } });
    return { ...made, keyring, fingerprint: signer.fingerprint };
  }
  const key = makeTestKey({ seed: design.seed, createdAt: checkEpoch(image.sourceDateEpoch) });
  const bytes = publicKeyring(key);
  const keyring = `${path}.keyring.gpg`;
  const sink = new FileSink(keyring, force);
  const folder = await makePrivateFolder(environment, 'keyring').catch(async (error: unknown) => {
    await sink.discard();
    throw error;
  });
  try {
    const trusted = join(folder, 'keyring.gpg');
    await writeFile(trusted, bytes);
    const signer = testKeySigner(key);
    const made = await build(options, signer, { signature: { keyrings: [trusted] } });
    sink.write(bytes, 0);
    await sink.commit(bytes.length);
    return { ...made, keyring, fingerprint: signer.fingerprint };
  } finally {
    await sink.discard();
    await rm(folder, { recursive: true, force: true });
  }
}
