import type { VhdDisk, VhdKind } from '../vhd/open-vhd.js';
import { isoSeconds, uuidText } from './uuid-text.js';

/** What `inspect` tells of a VHD, in the specification's words. */
export interface VhdReport {
  readonly kind: VhdKind;
  readonly uniqueId: string;
  readonly created: string | undefined;
  readonly creatorApplication: string;
  /** `1.1` */
  readonly creatorVersion: string;
  readonly creatorHostOs: string;
  readonly originalSize: number;
  readonly currentSize: number;
  readonly geometry: { readonly cylinders: number; readonly heads: number; readonly sectorsPerTrack: number };
  readonly savedState: boolean;
  /** Of a dynamic or differencing disk. */
  readonly blockBytes: number | undefined;
  readonly blockCount: number | undefined;
  readonly allocatedBlockCount: number | undefined;
  readonly hasBatmap: boolean | undefined;
  /** Of a differencing disk. */
  readonly parent: VhdParentReport | undefined;
}

export interface VhdParentReport {
  readonly uniqueId: string;
  readonly unicodeName: string;
  readonly locators: readonly { readonly platformCode: string; readonly path: string | undefined }[];
  /** As it was opened; undefined when it is missing, and a finding says so. */
  readonly name: string | undefined;
}

function versionText(version: number): string {
  return `${Math.floor(version / 0x10000)}.${version % 0x10000}`;
}

export function describeVhd(vhd: VhdDisk): VhdReport {
  const { footer, header } = vhd;
  return {
    kind: vhd.kind,
    uniqueId: uuidText(footer.uniqueId),
    created: isoSeconds(footer.createdSeconds),
    creatorApplication: footer.creatorApplication,
    creatorVersion: versionText(footer.creatorVersion),
    creatorHostOs: footer.creatorHostOs,
    originalSize: footer.originalSize,
    currentSize: footer.currentSize,
    geometry: footer.geometry,
    savedState: footer.savedState,
    blockBytes: header?.blockBytes,
    blockCount: header === undefined ? undefined : Math.ceil(vhd.sizeBytes / header.blockBytes),
    allocatedBlockCount: vhd.allocatedBlockCount,
    hasBatmap: header?.hasBatmap,
    parent:
      header === undefined || vhd.kind !== 'differencing'
        ? undefined
        : {
            uniqueId: uuidText(header.parentUniqueId),
            unicodeName: header.parentUnicodeName,
            locators: header.parentLocators.map(({ platformCode, path }) => ({ platformCode, path })),
            name: vhd.parent?.name,
          },
  };
}
