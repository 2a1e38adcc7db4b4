import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { designPatch, type PatchRequest } from '../../src/kit/make-patch.js';
import { Framer, frameBytes, frameMessage } from '../../src/kit/message-frame.js';
import { openPatch } from '../../src/kit/patch-stream.js';
import { testKeySigner } from '../../src/kit/signer.js';
import { makeTestKey, publicKeyring } from '../../src/kit/test-key.js';
import { FolderRepository } from '../../src/pool/folder-repository.js';
import { openPool, type Pool, type PoolOptions } from '../../src/pool/open-pool.js';
import { isPoolError, type PoolError } from '../../src/pool/pool-error.js';
import { VDI_CLONE } from '../../src/pool/storage.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const KEY = makeTestKey({ seed: 'pool tests' });

export const SR_UUIDS = {
  one: '11111111-1111-4111-8111-111111111111',
  two: '22222222-2222-4222-8222-222222222222',
} as const;

/** A signed patch in memory. */
export interface SamplePatch {
  readonly uuid: string;
  readonly bytes: Buffer;
  readonly sha256: string;
}

export async function samplePatch(
  seed: string,
  sizeBytes = 64 * 1024,
  request: Omit<PatchRequest, 'seed'> = {},
): Promise<SamplePatch> {
  const design = designPatch({ seed, ...request });
  const stream = await openPatch(design, sizeBytes, { kind: 'message', signer: testKeySigner(KEY) });
  const parts: Uint8Array[] = [];
  for await (const part of stream.bytes()) parts.push(part);
  const bytes = Buffer.concat(parts);
  return { uuid: design.info.uuid, bytes, sha256: sha256(bytes) };
}

/** A signed patch that is too large for the memory of a test. */
export async function samplePatchFile(path: string, seed: string, sizeBytes: number): Promise<void> {
  const design = designPatch({ seed });
  const stream = await openPatch(design, sizeBytes, { kind: 'message', signer: testKeySigner(KEY) });
  await writeFile(path, stream.bytes());
}

/** Any clear text as a signed message. */
export async function signedMessage(clearText: string | Uint8Array): Promise<Buffer> {
  const signer = testKeySigner(KEY);
  const clear = Buffer.from(clearText);
  const total = clear.length + frameBytes(signer.onePass.length, signer.signatureBytes);
  const { runs } = frameMessage(total, signer.onePass, signer.signatureBytes);
  const running = await signer.start(0);
  await running.update(clear);
  const signature = await running.finish();
  return Buffer.concat([...new Framer(runs).frame(clear), signature]);
}

/** A patch of the time before VDIs: a file in the master's folder, and its record. */
export async function oldPatch(
  pool: Pool,
  { uuid, bytes }: SamplePatch,
): Promise<{ ref: string; path: string }> {
  const path = join(pool.patchFolder, uuid);
  writeFileSync(path, bytes);
  const values = { uuid, name_label: 'old', size: bytes.length, filename: path };
  const ref = await pool.database.change((draft) => draft.create('pool_patch', values));
  return { ref, path };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export async function* inChunks(bytes: Uint8Array, chunkBytes = 60_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    await new Promise((resolve) => setImmediate(resolve));
    yield new Uint8Array(bytes.subarray(at, at + chunkBytes));
  }
}

/** Everything a pool of these tests lies in. */
export interface PoolPlace {
  readonly folder: string;
  readonly state: string;
  readonly sr: (name: keyof typeof SR_UUIDS) => string;
  readonly keyring: string;
}

export function poolPlace(folder = temporaryFolder()): PoolPlace {
  mkdirSync(folder, { recursive: true });
  const keyring = join(folder, 'keyring.gpg');
  writeFileSync(keyring, publicKeyring(KEY));
  return { folder, state: join(folder, 'state'), sr: (name) => join(folder, `sr-${name}`), keyring };
}

export interface TestPoolOptions extends Partial<Omit<PoolOptions, 'repositories'>> {
  readonly quotaBytes?: number | undefined;
  readonly capabilities?: readonly string[] | undefined;
  /** Of the second SR. */
  readonly capabilitiesOfTwo?: readonly string[] | undefined;
}

/** Two folder SRs; the first is the default unless said otherwise. */
export async function openAt(place: PoolPlace, options: TestPoolOptions = {}): Promise<Pool> {
  const { quotaBytes, capabilities = [VDI_CLONE], capabilitiesOfTwo = [VDI_CLONE], ...others } = options;
  const now = options.now ?? ((): number => 1_800_000_000_000);
  const make = (name: keyof typeof SR_UUIDS, list: readonly string[]): Promise<FolderRepository> =>
    FolderRepository.create({
      path: place.sr(name),
      uuid: SR_UUIDS[name],
      nameLabel: `SR ${name}`,
      capabilities: new Set(list),
      quotaBytes,
      now,
    });
  return await openPool({
    stateFolder: place.state,
    repositories: [await make('one', capabilities), await make('two', capabilitiesOfTwo)],
    defaultSr: SR_UUIDS.one,
    policy: { keyrings: [place.keyring] },
    environment: { searchPath: DEFAULT_SEARCH_PATH },
    hostName: 'host-one',
    address: '127.0.0.1',
    now,
    newUuid: randomUUID,
    ...others,
  });
}

export async function testPool(
  options: TestPoolOptions = {},
): Promise<{ readonly pool: Pool; readonly place: PoolPlace }> {
  const place = poolPlace();
  const pool = await openAt(place, options);
  onTestFinished(() => pool.close());
  return { pool, place };
}

export function srRef(pool: Pool, name: keyof typeof SR_UUIDS): string {
  return pool.database.getByUuid('SR', SR_UUIDS[name]);
}

/** Names in the folders of both SRs, and of unfinished things in the state folder. */
export function filesOf(place: PoolPlace): string[] {
  const inSr = (name: keyof typeof SR_UUIDS): string[] =>
    readdirSync(place.sr(name)).map((file) => `${name}/${file}`);
  const temporary = readdirSync(join(place.state, 'tmp')).map((file) => `tmp/${file}`);
  return [...inSr('one'), ...inSr('two'), ...temporary]
    .filter((name) => !name.endsWith('.patch-vdi-sr.json'))
    .sort();
}

export async function download(
  pool: Pool,
  uuid: string,
  range?: { start: number; end: number },
): Promise<Buffer> {
  const opened = await pool.patches.download(uuid);
  try {
    const parts: Uint8Array[] = [];
    for await (const part of opened.stream(range)) parts.push(part);
    return Buffer.concat(parts);
  } finally {
    await opened.close();
  }
}

/** The error of a call that must be refused by the pool. */
export async function refused(promise: Promise<unknown>): Promise<PoolError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('value' in outcome) throw new Error(`accepted: ${JSON.stringify(outcome.value)}`);
  if (!isPoolError(outcome.error)) throw outcome.error;
  return outcome.error;
}

export function upload(
  pool: Pool,
  { bytes }: Pick<SamplePatch, 'bytes'>,
  more: { readonly sr?: string; readonly task?: string; readonly signal?: AbortSignal } = {},
): Promise<string> {
  return pool.patches.upload({ source: inChunks(bytes), contentLength: bytes.length, ...more });
}

export const SMALL_VDI_BYTES = 16 * MIB;
