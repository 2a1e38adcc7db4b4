import { MIB, SECTOR_BYTES, describeBytes } from '../units.js';
import type { FoundFooter } from './find-footer.js';
import { creatorName, leadsNowhere, unixSeconds, type RawFooter } from './footer-facts.js';
import { geometryFor, type Geometry } from './geometry.js';
import {
  FEATURES_RESERVED,
  FEATURES_TEMPORARY,
  FILE_FORMAT_VERSION,
  VHD_MAX_BYTES,
  hardDiskFooter,
} from './layout.js';
import { hex32, type FindingWords, type Report } from './words.js';

/** Creators whose disks qemu sizes by `current_size`; of all others by the geometry (measured, qemu 7.2). */
const SIZED_CREATORS: readonly string[] = ['win', 'qem2', 'd2v', 'tap', 'CTXS'];

/** The largest geometry there is stands for "too large for one", also to qemu. */
const MAX_GEOMETRY_SECTORS = 65535 * 16 * 255;

/** A clock may be a little ahead of another. (vhd-lib 0.7.2 counts from 1970: its disks are 30 years ahead.) */
const CLOCK_TOLERANCE_SECONDS = 24 * 60 * 60;

/** blktap's mark of a hidden disk is no reserved byte to us. */
const HIDDEN_BYTES = 1;

function sectorsOf({ cylinders, heads, sectorsPerTrack }: Geometry): number {
  return cylinders * heads * sectorsPerTrack;
}

function describeGeometry(geometry: Geometry): string {
  const { cylinders, heads, sectorsPerTrack } = geometry;
  return `${cylinders} x ${heads} x ${sectorsPerTrack} = ${describeBytes(sectorsOf(geometry) * SECTOR_BYTES)}`;
}

type Fault = Pick<FindingWords, 'code' | 'severity' | 'found' | 'expected'>;
type Check = readonly [
  field: keyof RawFooter,
  check: (raw: RawFooter, nowSeconds?: number) => Fault | undefined,
];

/**
 * The specification's geometry rounds down and so never exceeds the disk. A smaller one than it asks for matters only
 * to those who size the disk by it.
 */
function geometryFault(raw: RawFooter): Fault | undefined {
  const geometry: Geometry = {
    cylinders: raw.disk_geometry_cylinders,
    heads: raw.disk_geometry_heads,
    sectorsPerTrack: raw.disk_geometry_sectors_per_track,
  };
  const sectors = sectorsOf(geometry);
  const size = Number(raw.current_size);
  const usedForSize = !SIZED_CREATORS.includes(creatorName(raw));
  if (sectors === MAX_GEOMETRY_SECTORS) return undefined;
  const tooLarge = sectors * SECTOR_BYTES > size;
  const tooSmall = usedForSize && sectors < sectorsOf(geometryFor(size));
  if (!tooLarge && !tooSmall) return undefined;
  return {
    code: 'vhd-geometry',
    severity: usedForSize && tooLarge ? 'error' : 'warning',
    found: `geometry ${describeGeometry(geometry)}`,
    expected: `${describeGeometry(geometryFor(size))}${usedForSize ? `: some readers size a disk of creator "${creatorName(raw)}" by it` : ''}`,
  };
}

function warning(code: string, found: string, expected: string): Fault {
  return { code, severity: 'warning', found, expected };
}

const CHECKS: readonly Check[] = [
  [
    'features',
    ({ features }) =>
      (features & ~FEATURES_TEMPORARY) === FEATURES_RESERVED
        ? undefined
        : warning(
            'vhd-features',
            `features ${hex32(features)}`,
            '2 (reserved, always set), with or without 1',
          ),
  ],
  [
    'file_format_version',
    ({ file_format_version: version }) =>
      version === FILE_FORMAT_VERSION
        ? undefined
        : {
            code: 'vhd-format-version',
            severity: 'error',
            found: `file_format_version ${hex32(version)}`,
            expected: hex32(FILE_FORMAT_VERSION),
          },
  ],
  [
    'time_stamp',
    ({ time_stamp: time }, nowSeconds) =>
      nowSeconds === undefined || unixSeconds(time) <= nowSeconds + CLOCK_TOLERANCE_SECONDS
        ? undefined
        : warning(
            'vhd-time-stamp',
            `time_stamp ${time} (${isoTime(unixSeconds(time))})`,
            'not in the future',
          ),
  ],
  [
    'original_size',
    ({ original_size: size }) =>
      size <= BigInt(Number.MAX_SAFE_INTEGER)
        ? undefined
        : warning('vhd-original-size', `original_size ${size}`, 'a size that can be'),
  ],
  ['current_size', ({ current_size: size }) => sizeFault(Number(size))],
  ['disk_geometry_cylinders', (raw) => (raw.current_size === 0n ? undefined : geometryFault(raw))],
  [
    'unique_id',
    ({ unique_id: id }) =>
      id.some((byte) => byte !== 0)
        ? undefined
        : warning('vhd-unique-id', 'unique_id of zeros', 'an id of its own'),
  ],
  [
    'saved_state',
    ({ saved_state: saved }) =>
      saved === 0
        ? undefined
        : warning('vhd-saved-state', `saved_state ${saved}`, '0: the machine of this disk was shut down'),
  ],
  [
    'reserved',
    ({ reserved }) =>
      reserved.subarray(HIDDEN_BYTES).every((byte) => byte === 0)
        ? undefined
        : warning('vhd-reserved', 'reserved bytes that are not zero', 'zeros'),
  ],
];

function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

function sizeFault(size: number): Fault | undefined {
  if (size === 0) {
    return {
      code: 'vhd-size-zero',
      severity: 'error',
      found: 'current_size 0',
      expected: 'the size of the disk',
    };
  }
  if (size % SECTOR_BYTES !== 0) {
    return {
      code: 'vhd-size-unaligned',
      severity: 'warning',
      found: `current_size ${size}`,
      expected: `a multiple of ${SECTOR_BYTES}`,
    };
  }
  if (size <= VHD_MAX_BYTES) return undefined;
  return warning(
    'vhd-size-limit',
    `current_size ${describeBytes(size)}`,
    `at most ${VHD_MAX_BYTES / MIB} MiB, where libvhd and XAPI end`,
  );
}

/** Reports the fields of a footer that are not as the specification has them; one finding a field. */
export function checkFooterFields(footer: FoundFooter, report: Report, nowSeconds: number | undefined): void {
  const { raw, offset, structure, kind } = footer;
  const faults: Array<readonly [field: keyof RawFooter, fault: Fault | undefined]> = CHECKS.map(
    ([field, check]) => [field, check(raw, nowSeconds)],
  );
  if (kind === 'fixed' && !leadsNowhere(raw.data_offset)) {
    const found = `data_offset ${raw.data_offset}`;
    faults.push(['data_offset', warning('vhd-data-offset', found, 'all ones: a fixed disk has no header')]);
  }
  for (const [field, fault] of faults) {
    if (fault === undefined) continue;
    report({ ...fault, structure, offset: offset + hardDiskFooter.rows[field][0] });
  }
}
