import { shortBytes } from '../inspect/draw-text.js';
import type { PatchEntry, PatchPlace } from '../xenapi/inventory.js';

const OTHER_PLACES: Readonly<Record<Exclude<PatchPlace['kind'], 'vdi'>, string>> = {
  file: 'a file on the master',
  nowhere: 'nothing any more',
  unknown: 'a file on the master, if anywhere',
};

/** Where a patch's bytes are, in words that follow "in". */
export function placeText(place: PatchPlace): string {
  if (place.kind !== 'vdi') return OTHER_PLACES[place.kind];
  return `VDI ${place.uuid} on ${place.srName === '' ? place.sr : place.srName}`;
}

/** The same as a note of its own. */
export function placeNote(place: PatchPlace): string {
  return place.kind === 'nowhere' ? 'its bytes are gone: upload it again' : `in ${placeText(place)}`;
}

/** What is to be restarted once it is applied. */
export function guidanceText(guidance: readonly string[]): string {
  return guidance.length === 0 ? '' : `afterwards ${guidance.join(' ')}`;
}

/** The same for programs. */
export function patchObject({ record, place }: PatchEntry): object {
  return {
    uuid: record.uuid,
    nameLabel: record.name_label,
    nameDescription: record.name_description,
    version: record.version,
    sizeBytes: record.size,
    place,
    poolApplied: record.pool_applied,
    hostCount: record.host_patches.length,
    afterApplyGuidance: record.after_apply_guidance,
  };
}

/** For a page about one patch. */
export function patchFields({ record, place }: PatchEntry): (readonly [string, string])[] {
  return [
    ['patch', record.uuid],
    ['name', record.name_label],
    ['version', record.version],
    ['size', `${shortBytes(record.size)} (${record.size} bytes)`],
    ['kept in', placeText(place)],
    ['guidance', guidanceText(record.after_apply_guidance)],
  ];
}
