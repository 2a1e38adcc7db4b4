import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { buildPatchImage } from '../../src/build/build-image.js';
import { applyPatch, precheckPatch, type ApplyOptions } from '../../src/host/apply-patch.js';
import type { ApplyOutcome, PrecheckOutcome } from '../../src/host/outcome.js';
import type { MountedPatchOptions } from '../../src/host/mounted-patch.js';
import { Framer, frameBytes, frameMessage } from '../../src/kit/message-frame.js';
import { testKeySigner } from '../../src/kit/signer.js';
import { makeTestKey, publicKeyring } from '../../src/kit/test-key.js';
import { parseInfoDocument, type PatchInfo } from '../../src/pool/info-document.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { requireLoopDevices } from '../oracles/loop-device.js';
import { requireTool, type Skippable } from '../oracles/require-tool.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

/** Whether this machine can mount, and has all that apply runs. */
export function requireHost(context: Skippable): void {
  requireLoopDevices(context);
  requireTool(
    context,
    'unshare',
    'nsenter',
    'setpriv',
    'mount',
    'umount',
    'gpgv',
    'e2fsck',
    'mke2fs',
    'debugfs',
  );
}

export const UUID = '0d8a2f0c-6c3e-4a53-9f0e-5d5c1a7b9e11';
export const INFO = `<info uuid="${UUID}" version="1.0" name-label="bench" name-description="d" after-apply-guidance="restartXAPI"/>`;

export const KEY = makeTestKey({ seed: 'host tests' });
export const STRANGER = makeTestKey({ seed: 'somebody else' });

export interface PatchText {
  readonly info?: string;
  readonly precheck?: string;
  readonly apply?: string;
}

/** A shell script as a patch; each part ends with exit code 0 unless it says otherwise. */
export function patchText({
  info = `echo '${INFO}'`,
  precheck = 'true',
  apply = 'echo applied',
}: PatchText): string {
  return `#!/bin/sh\ncase $1 in\ninfo)\n${info}\n;;\nprecheck)\n${precheck}\n;;\napply)\n${apply}\n;;\nesac\n`;
}

/** Any clear text as a signed message. */
export async function signed(clearText: string | Uint8Array, key = KEY): Promise<Buffer> {
  const signer = testKeySigner(key);
  const clear = Buffer.from(clearText);
  const total = clear.length + frameBytes(signer.onePass.length, signer.signatureBytes);
  const { runs } = frameMessage(total, signer.onePass, signer.signatureBytes);
  const running = await signer.start(0);
  await running.update(clear);
  return Buffer.concat([...new Framer(runs).frame(clear), await running.finish()]);
}

/** Folders, an image and its keyring; removed when the running test ends. */
export interface HostBench {
  readonly folder: string;
  readonly scratch: string;
  readonly applied: string;
  readonly image: string;
  readonly keyring: string;
  precheck(more?: Partial<MountedPatchOptions<PatchInfo>>): Promise<PrecheckOutcome<PatchInfo>>;
  apply(more?: Partial<ApplyOptions<PatchInfo>>): Promise<ApplyOutcome<PatchInfo>>;
}

export interface BenchOptions {
  readonly format?: 'raw' | 'vhd' | 'vhd-fixed';
  readonly filesystem?: 'ext2' | 'ext3' | 'ext4';
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** @param upload what the file `patch` holds; unsigned is what it says if it is */
export async function buildImage(
  path: string,
  upload: Uint8Array,
  options: BenchOptions = {},
): Promise<void> {
  await buildPatchImage({
    source: once(upload),
    contentLength: upload.length,
    sink: { path, force: true },
    format: options.format ?? 'raw',
    filesystem: options.filesystem ?? 'ext4',
    verify: { unsigned: true },
    environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: temporaryFolder() },
  });
}

export async function hostBench(
  patch: PatchText | Uint8Array,
  options: BenchOptions = {},
): Promise<HostBench> {
  const folder = temporaryFolder();
  const place = (name: string): string => join(folder, name);
  const upload = patch instanceof Uint8Array ? patch : await signed(patchText(patch));
  const [image, keyring, scratch, applied] = ['image', 'keyring.gpg', 'scratch', 'applied'].map(place) as [
    string,
    string,
    string,
    string,
  ];
  mkdirSync(scratch);
  writeFileSync(keyring, publicKeyring(KEY));
  await buildImage(image, upload, options);
  onTestFinished(() => endRemains(folder));
  const common = {
    image,
    policy: { keyrings: [keyring] },
    environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: scratch },
    scratchFolder: scratch,
    parseInfo: parseInfoDocument,
  };
  return {
    folder,
    scratch,
    applied,
    image,
    keyring,
    precheck: (more = {}) => precheckPatch({ ...common, ...more }),
    apply: (more = {}) => applyPatch({ ...common, appliedFolder: applied, ...more }),
  };
}

function processes(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // It has ended, or is not a loop device.
    return '';
  }
}

/** Mounts of any process, loop devices and command lines that have to do with a folder. */
export function remainsOf(folder: string): string[] {
  const loops = readdirSync('/sys/block').filter((name) =>
    read(`/sys/block/${name}/loop/backing_file`).includes(folder),
  );
  const mounts = processes().filter((pid) => read(`/proc/${pid}/mountinfo`).includes(folder));
  const commands = processes().filter((pid) => read(`/proc/${pid}/cmdline`).includes(folder));
  return [
    ...loops.map((name) => `loop device ${name}`),
    ...mounts.map((pid) => `mount seen by ${pid}: ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
    ...commands.map((pid) => `process ${pid}: ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
  ];
}

/** What a test that failed has left must not hold up the next one. */
function endRemains(folder: string): void {
  for (const pid of processes()) {
    if (!read(`/proc/${pid}/mountinfo`).includes(folder)) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}

/** No mount, no loop device, no process, no file in the scratch folder. */
export function expectNothingLeft({ folder, scratch }: HostBench): void {
  expect({ remains: remainsOf(folder), scratch: readdirSync(scratch) }).toEqual({ remains: [], scratch: [] });
}

/** The kernel needs a moment after a process was killed. Fails when there is something after ten seconds. */
export async function expectNoRemains(folder: string): Promise<void> {
  for (let tries = 0; tries < 200 && remainsOf(folder).length > 0; tries += 1) await sleep(50);
  expect(remainsOf(folder)).toEqual([]);
}
