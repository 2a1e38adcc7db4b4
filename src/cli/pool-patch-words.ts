import { shortBytes } from '../inspect/draw-text.js';
import type { PatchEntry, PatchPlace } from '../xenapi/inventory.js';

const OTHER_PLACES: Readonly<Record<Exclude<PatchPlace['kind'], 'vdi'>, string>> = {
  file: 'a file on the master',
  nowhere: 'nothing any more',
  unknown: 'a file on the master, if anywhere',
};

/** Where a patch's bytes are, in words that follow "in". */
function placeText(place: PatchPlace): string {
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

/** Which hosts have it, in words. */
export function hostsText({ record, hosts }: PatchEntry): string {
  if (record.host_patches.length === 0) return '';
  if (record.pool_applied) return 'applied everywhere';
  if (hosts === undefined) return 'applied to some hosts';
  const names = (applied: boolean): string =>
    hosts.flatMap((host) => (host.applied === applied ? [host.name] : [])).join(', ');
  const [whole, half] = [names(true), names(false)];
  return [
    ...(whole === '' ? [] : [`applied to ${whole}`]),
    ...(half === '' ? [] : [`may have run in part on ${half}, where an apply was killed`]),
  ].join('; ');
}

/** The same for programs. */
export function patchObject({ record, place, hosts }: PatchEntry): object {
  return {
    uuid: record.uuid,
    nameLabel: record.name_label,
    nameDescription: record.name_description,
    version: record.version,
    sizeBytes: record.size,
    place,
    poolApplied: record.pool_applied,
    hostCount: hosts?.filter(({ applied }) => applied).length ?? record.host_patches.length,
    ...(hosts === undefined ? {} : { hosts }),
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
