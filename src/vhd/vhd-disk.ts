import type { ByteReader } from '../bytes.js';
import type { ReportFinding } from '../findings.js';
import type { Geometry } from './geometry.js';

export type VhdKind = 'fixed' | 'dynamic' | 'differencing';

/** What the footer says (VHD specification, "Hard Disk Footer Format"), decoded and printable. Copies, not views. */
export interface VhdFooterFacts {
  /** Bits: 1 temporary, 2 reserved, which is always set. */
  readonly features: number;
  /** 0x00010000 for 1.0. */
  readonly fileFormatVersion: number;
  /** Undefined where it leads nowhere, as in a fixed disk. */
  readonly dataOffset: number | undefined;
  /** Seconds since 1970. */
  readonly createdSeconds: number;
  /** Four characters, trailing NULs and spaces cut, anything unprintable escaped: `tap`, `qem2`, `win`. */
  readonly creatorApplication: string;
  /** Major version in the upper 16 bits, minor in the lower. */
  readonly creatorVersion: number;
  /** `Windows`, `Macintosh`, else its four bytes, printable; empty when they are zero. */
  readonly creatorHostOs: string;
  /** Bytes. */
  readonly originalSize: number;
  /** Bytes: the size of the disk. */
  readonly currentSize: number;
  readonly geometry: Geometry;
  /** 2 fixed, 3 dynamic, 4 differencing. */
  readonly diskType: number;
  readonly checksum: number;
  /** 16 bytes. */
  readonly uniqueId: Uint8Array;
  /** The machine was suspended, and its memory belongs to this disk. */
  readonly savedState: boolean;
  /** blktap's own mark, in the first reserved byte: a disk that only serves as a parent. */
  readonly hidden: boolean;
}

/** One way to the parent ("Parent Locator Entry"). */
export interface ParentLocator {
  /** Four characters, printable: `W2ru`, `W2ku`, `MacX`, `Mac `, `Wi2r`, `Wi2k`. */
  readonly platformCode: string;
  /** Where its data stands in the file, and how long it is, in bytes. */
  readonly dataOffset: number;
  readonly dataLength: number;
  /**
   * The path that it holds, decoded but otherwise as it stands: hostile text, with the separators of its platform.
   * Undefined when there is none that can be read (a Mac alias, or damage, which has its finding).
   */
  readonly path: string | undefined;
}

/** What the header says ("Dynamic Disk Header Format"), and what stands behind the BAT. */
export interface VhdHeaderFacts {
  /** 0x00010000 for 1.0. */
  readonly headerVersion: number;
  /** Bytes of a block, a power of two from 512. */
  readonly blockBytes: number;
  readonly maxTableEntries: number;
  /** Where the BAT starts in the file, in bytes. */
  readonly tableOffset: number;
  /** 16 bytes, all zero without a parent, or when the parent is a raw disk (blktap). */
  readonly parentUniqueId: Uint8Array;
  /** `parent_time_stamp` in seconds since 1970: when the parent was last *modified*, not when it was created. */
  readonly parentCreatedSeconds: number;
  /** Hostile text, as it stands. */
  readonly parentUnicodeName: string;
  /** Those in use, in order. Empty unless the disk is a differencing one. */
  readonly parentLocators: readonly ParentLocator[];
  readonly hasBatmap: boolean;
}

/** Bytes of the disk. */
export interface DiskRun {
  readonly offset: number;
  readonly length: number;
}

/** What the sectors come from that a differencing disk does not have: a VHD, or the bytes of a raw disk. */
export type VhdParent = VhdDisk | ByteReader;

export interface VhdDisk {
  readonly kind: VhdKind;
  /** For messages: the name of the reader. */
  readonly name: string;
  /**
   * Bytes of the disk: always `current_size`. Virtual PC showed its guests the geometry's size, which rounds down, and
   * qemu does so for creators other than `win `, `qem2`, `d2v `, `tap`, `CTXS` (measured, qemu 7.2: a test repeats it);
   * libvhd and XAPI go by `current_size`. A difference that matters is the finding `vhd-geometry`.
   */
  readonly sizeBytes: number;
  readonly footer: VhdFooterFacts;
  /** Undefined for a fixed disk. */
  readonly header: VhdHeaderFacts | undefined;
  /** Undefined without one, or when it could not be opened (finding `vhd-parent-missing` or `-mismatch`). */
  readonly parent: VhdParent | undefined;
  /** BAT entries in use, without those of parents; undefined for a fixed disk. */
  readonly allocatedBlockCount: number | undefined;
  /**
   * The runs of the disk that have a place in the file or in one of its parents, in whole blocks (no bitmap is read),
   * merged, ascending, cut at the end of the disk. A fixed disk and a raw parent are one run.
   */
  allocatedRuns(): Iterable<DiskRun>;
  /**
   * Fills all of `target`, which stays the caller's, from that place of the disk. Calls may overlap in time unless the
   * reader is `forwardOnly`. Sectors that are nowhere read as zeros, without a read of the file.
   *
   * @throws PatchVdiError `image` past the end of the disk, where the file is damaged or too short, and where the parent
   *   is needed that could not be opened; the reason of the signal
   */
  readInto(target: Uint8Array, offsetBytes: number): Promise<void>;
  /** Closes the parents that were opened, and not the reader that it was given. Idempotent. */
  close(): Promise<void>;
}

export interface OpenVhdOptions {
  /** Everything that is wrong and can be read past. Findings about a parent name it in `structure`. */
  readonly report: ReportFinding;
  /**
   * Opens a parent. `path` is made of the folder of the child's name and of text *from the image*, which whoever made
   * the image chose: with `..` it leads anywhere. Whether to follow it, and as who, is this function's decision.
   * It rejects when there is no such file. The disk closes what it returns.
   */
  readonly openParent?: (path: string) => Promise<ByteReader>;
  readonly abortSignal?: AbortSignal;
  /** Seconds since 1970. With it, a footer from the future is a finding. */
  readonly nowSeconds?: number;
}
