import type { SrRecord } from './records.js';

/** What an import can be told to be. */
export type TransferFormat = 'vhd' | 'raw';

const LVM_TYPES = new Set(['lvm', 'lvmoiscsi', 'lvmohba']);

/**
 * Why an SR cannot take VHD: XAPI's importer writes only what the VHD holds, so it needs disks that are zero (and
 * these are the SRs of which XAPI itself says that they are not).
 *
 * @returns undefined when it can
 */
export function refusesVhd({ type, sm_config }: Pick<SrRecord, 'type' | 'sm_config'>): string | undefined {
  const kind = type.toLowerCase();
  if (kind === 'cslg') return 'StorageLink does not hand out zeroed disks';
  if (LVM_TYPES.has(kind) && sm_config['use_vhd'] !== 'true') {
    return 'LVM without VHD does not hand out zeroed disks';
  }
  const isThick = Object.entries(sm_config).some(
    ([key, value]) => key.toLowerCase() === 'allocation' && value.toLowerCase() === 'thick',
  );
  if (kind === 'equal' && isThick) return 'thick EqualLogic volumes are not zeroed';
  return undefined;
}
