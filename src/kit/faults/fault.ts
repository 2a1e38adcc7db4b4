import type { FindingCode } from '../../finding-codes.js';
import { IMAGE_FORMATS, type ImageFormat } from '../../plan/plan.js';
import type { E2fsprogsCall } from '../../tools/e2fsprogs.js';
import { FILESYSTEMS, type FilesystemName } from '../../tools/mke2fs.js';
import type { DiskFile } from '../disk-file.js';
import { KEYRING_NAMES, type KeyringName } from '../kit-keys.js';
import type { Packing } from '../pack-vhd.js';
import type { Seed } from '../seed.js';
import type { Upload, UploadBench } from '../uploads.js';

/** What `patch-vdi inspect IMAGE` comes to. */
export interface ExpectedInspect {
  readonly exitCode: 0 | 6;
  /** Codes of all findings, each once, sorted. Undefined when the image cannot even be opened: an error instead. */
  readonly findings: readonly FindingCode[] | undefined;
}

/** What `patch-vdi verify IMAGE --keyring …` comes to. */
export interface ExpectedVerify {
  readonly exitCode: 0 | 3 | 6;
  readonly signature: 'good' | 'bad' | 'not checked';
  readonly structure: 'good' | 'damaged';
  readonly findings: readonly FindingCode[] | undefined;
}

/** What the file `patch` holds for whoever reads it through the kernel's mount. */
export type PatchContent = 'whole' | 'damaged' | 'unreadable' | 'absent';

export interface ExpectedMount {
  /** Read-only, of a read-only block device. */
  readonly readOnly: 'mounts' | 'refuses';
  /** Writable, as a host mounts it that has to unpack beside `patch`. */
  readonly writable: 'mounts' | 'refuses';
  /** Undefined when it does not mount (writable, else read-only). */
  readonly patch: PatchContent | undefined;
}

/**
 * What comes of an image, program by program. Written by hand, and judged in the tests by the programs named. The
 * values hold for the sizes of `test suite`.
 */
export interface Expected {
  readonly inspect: ExpectedInspect;
  readonly verify: ExpectedVerify;
  /**
   * gpgv alone, given the file `patch` as a mount shows it (and its detached signature): exit code 0 or not. Undefined
   * without a file.
   */
  readonly gpgv: 'good' | 'bad' | undefined;
  /**
   * An importer into a pool, such as `PUT /import_raw_vdi`, that is told the announced length. `depends`: it may take
   * it or not, and the disk may differ from one importer to the other.
   */
  readonly import: 'accepts' | 'refuses' | 'depends';
  /** `qemu-img convert` of a VHD: gives a disk without a complaint, or not. Undefined for raw images. */
  readonly qemuImg: 'converts' | 'refuses' | undefined;
  /**
   * `e2fsck -fn` of the disk: nothing to say; something; or it cannot check it. Undefined when there is no disk. Its exit
   * code is 0 for some of what it complains about.
   */
  readonly fsck: 'clean' | 'complains' | 'refuses' | undefined;
  /** The kernel's mount of the disk. Undefined when there is no disk. */
  readonly mount: ExpectedMount | undefined;
  /** A host that is to run it. */
  readonly apply: 'may run' | 'must refuse';
}

export type FaultFamily = 'signature' | 'patch file' | 'file system' | 'VHD' | 'stream';

/** The image that a fault is put into. */
export interface Shape {
  readonly format: ImageFormat;
  readonly filesystem: FilesystemName;
}

/** What a fault has to work with on a disk: a raw image in a private folder. */
export interface DiskBench {
  readonly disk: DiskFile;
  readonly folder: string;
  readonly filesystem: FilesystemName;
  readonly call: E2fsprogsCall;
  readonly seed: Seed;
}

interface FaultWords {
  /** Kebab case; stays. */
  readonly name: string;
  readonly family: FaultFamily;
  /** One sentence: what is wrong. */
  readonly what: string;
  /** One sentence: what a good consumer does. */
  readonly consumer: string;
  /** Formats and file systems in which it exists; the suite has it in the first one that is wanted. */
  readonly formats: readonly ImageFormat[];
  readonly filesystems: readonly FilesystemName[];
  expected(shape: Shape): Expected;
  /** What `verify` is given; default: the keys that are trusted. */
  readonly keyring: KeyringName;
}

/** What is wrong is the upload. */
export interface UploadFault extends FaultWords {
  readonly layer: 'upload';
  make(bench: UploadBench): Promise<Upload>;
}

/** What is wrong is on the disk, whatever the format; or it is how the disk is packed into a VHD. */
export interface DiskFault extends FaultWords {
  readonly layer: 'disk';
  edit(bench: DiskBench): Promise<void>;
  readonly packing?: ((seed: Seed) => Packing) | undefined;
}

/** What is wrong is in the file around the disk. */
export interface FileFault extends FaultWords {
  readonly layer: 'file';
  edit(file: DiskFile): void;
  /** The file has another length than it was announced with. */
  readonly isStream: boolean;
}

export type Fault = UploadFault | DiskFault | FileFault;

export const ALL_FORMATS: readonly ImageFormat[] = IMAGE_FORMATS;
export const ALL_FILESYSTEMS: readonly FilesystemName[] = FILESYSTEMS;
export const TRUSTED = KEYRING_NAMES.trusted;

/** What a good image comes to. */
export function goodOutcome({ format }: Pick<Shape, 'format'>): Expected {
  return {
    inspect: { exitCode: 0, findings: [] },
    verify: { exitCode: 0, signature: 'good', structure: 'good', findings: [] },
    gpgv: 'good',
    import: 'accepts',
    qemuImg: format === 'raw' ? undefined : 'converts',
    fsck: 'clean',
    mount: { readOnly: 'mounts', writable: 'mounts', patch: 'whole' },
    apply: 'may run',
  };
}

/** The outcome of an image that differs from a good one in some points. */
export function differing(differences: Partial<Expected>): (shape: Pick<Shape, 'format'>) => Expected {
  return (shape) => {
    const all = { ...goodOutcome(shape), ...differences };
    return shape.format === 'raw' ? { ...all, qemuImg: undefined } : all;
  };
}

/** Of an image whose findings are the same to `inspect` and `verify`. */
export function found(
  findings: readonly FindingCode[],
  signature: ExpectedVerify['signature'],
): Pick<Expected, 'inspect' | 'verify'> {
  return {
    inspect: { exitCode: 6, findings },
    verify: { exitCode: signature === 'bad' ? 3 : 6, signature, structure: 'damaged', findings },
  };
}

/** The same for findings that are warnings. */
export function warned(
  findings: readonly FindingCode[],
  signature: 'good' | 'bad',
): Pick<Expected, 'inspect' | 'verify'> {
  return {
    inspect: { exitCode: 0, findings },
    verify: { exitCode: signature === 'bad' ? 3 : 0, signature, structure: 'good', findings },
  };
}

/** The same where `verify` is stricter than `inspect`: what a mount or an import changes was not verified. */
export function warnedNotVerified(findings: readonly FindingCode[]): Pick<Expected, 'inspect' | 'verify'> {
  return {
    inspect: { exitCode: 0, findings },
    verify: { exitCode: 6, signature: 'good', structure: 'damaged', findings },
  };
}

/** Of a file that cannot be opened as an image. */
export const CANNOT_BE_OPENED: Pick<Expected, 'inspect' | 'verify' | 'gpgv'> = {
  inspect: { exitCode: 6, findings: undefined },
  verify: { exitCode: 6, signature: 'not checked', structure: 'damaged', findings: undefined },
  gpgv: undefined,
};

/** Of a disk that the kernel does not mount. */
export const NO_MOUNT: ExpectedMount = { readOnly: 'refuses', writable: 'refuses', patch: undefined };

export function mounted(patch: PatchContent): ExpectedMount {
  return { readOnly: 'mounts', writable: 'mounts', patch };
}
