import type { Draft } from './draft.js';
import type { Ref } from './fields.js';
import { patchVdiName } from './patch-rules.js';
import type { ReceivedPatch } from './receive-patch.js';
import type { VdiInProgress } from './vdis.js';

/**
 * As part of a change: makes or updates the record of a patch that was received. An upload of a UUID that exists takes
 * the new content and keeps the reference.
 *
 * @returns also the VDI whose content was replaced: it is to be removed
 */
export function recordPatch(
  draft: Draft,
  vdi: VdiInProgress,
  { info, size, sha256 }: ReceivedPatch,
): { readonly ref: Ref; readonly replaced: Ref | undefined } {
  const values = {
    uuid: info.uuid,
    name_label: info.nameLabel,
    name_description: info.nameDescription,
    version: info.version,
    after_apply_guidance: info.afterApplyGuidance,
    size,
    sha256,
    VDI: vdi.ref,
  };
  draft.update('VDI', vdi.ref, {
    name_label: patchVdiName(info.uuid, info.nameLabel),
    name_description: info.nameDescription,
  });
  const known = draft.all('pool_patch').find(([, { uuid }]) => uuid === info.uuid);
  if (known === undefined) return { ref: draft.create('pool_patch', values), replaced: undefined };
  const [ref, { VDI: oldVdi, filename, replaced_filename }] = known;
  // The file has the old content: nobody is given that any more.
  const replacedFile = filename === '' ? replaced_filename : filename;
  draft.update('pool_patch', ref, { ...values, filename: '', replaced_filename: replacedFile });
  const old = draft.find('VDI', oldVdi);
  if (old === undefined) return { ref, replaced: undefined };
  draft.update('VDI', oldVdi, { state: 'destroying' });
  return { ref, replaced: oldVdi };
}
