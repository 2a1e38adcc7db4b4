import { UNFINISHED_KEY } from './apply-rules.js';
import type { Draft } from './draft.js';
import { NULL_REF, datetimeText, type Ref } from './fields.js';
import type { AppliedPatch, UnfinishedPatch } from './host-side.js';
import type { PatchInfo } from './info-document.js';

/** What a host says about a patch: applied, or that it may have been in part. */
export type HostPatchState =
  /** Milliseconds since 1970. */
  | { readonly kind: 'applied'; readonly appliedAt: number }
  | { readonly kind: 'unfinished'; readonly beganAt: string };

/** `pool_applied`: "when every host has it". As part of a change. */
export function updatePoolApplied(draft: Draft, patch: Ref): void {
  const applied = new Set(
    draft.all('host_patch').flatMap(([, one]) => (one.pool_patch === patch && one.applied ? [one.host] : [])),
  );
  const hosts = draft.all('host');
  const pool_applied = hosts.length > 0 && hosts.every(([host]) => applied.has(host));
  draft.update('pool_patch', patch, { pool_applied });
}

function find(draft: Draft, patch: Ref, host: Ref): Ref | undefined {
  return draft.all('host_patch').find(([, one]) => one.pool_patch === patch && one.host === host)?.[0];
}

/** As part of a change: makes or updates the `host_patch`. @returns whether anything changed */
export function recordHostPatch(
  draft: Draft,
  { patch, host, newUuid }: { readonly patch: Ref; readonly host: Ref; readonly newUuid: () => string },
  state: HostPatchState,
): boolean {
  const { name_label, name_description, version, size } = draft.get('pool_patch', patch);
  const applied = state.kind === 'applied';
  const values = {
    applied,
    ...(applied ? { timestamp_applied: datetimeText(state.appliedAt) } : {}),
    other_config: applied ? {} : { [UNFINISHED_KEY]: state.beganAt },
  };
  const known = find(draft, patch, host);
  if (known === undefined) {
    const names = { name_label, name_description, version, size, pool_patch: patch, host };
    draft.create('host_patch', { uuid: newUuid(), ...names, ...values });
  } else {
    const before = draft.get('host_patch', known);
    const same =
      before.applied === applied &&
      before.other_config[UNFINISHED_KEY] === values.other_config[UNFINISHED_KEY];
    if (same) return false;
    draft.update('host_patch', known, values);
  }
  updatePoolApplied(draft, patch);
  return true;
}

/** As part of a change: the host does not have it. */
export function forgetHostPatch(draft: Draft, patch: Ref, host: Ref): void {
  const known = find(draft, patch, host);
  if (known === undefined) return;
  draft.remove('host_patch', known);
  if (draft.find('pool_patch', patch) !== undefined) updatePoolApplied(draft, patch);
}

/** The record of a patch that a host has, and that the pool knows nothing else of. */
function patchOf(draft: Draft, uuid: string, info: PatchInfo | undefined): Ref | undefined {
  const known = draft.all('pool_patch').find(([, record]) => record.uuid === uuid)?.[0];
  if (known !== undefined || info === undefined) return known;
  return draft.create('pool_patch', {
    uuid,
    name_label: info.nameLabel,
    name_description: info.nameDescription,
    version: info.version,
    after_apply_guidance: info.afterApplyGuidance,
    VDI: NULL_REF,
  });
}

export interface HostWord {
  readonly host: Ref;
  readonly newUuid: () => string;
  readonly applied: readonly AppliedPatch[];
  readonly unfinished: readonly UnfinishedPatch[];
}

/**
 * As part of a change: "at start the host makes its records agree with that folder".
 *
 * @returns the UUIDs of the patches whose `host_patch` was made, changed or removed
 */
export function agreeWithHost(draft: Draft, { host, newUuid, applied, unfinished }: HostWord): string[] {
  const changed: string[] = [];
  const kept = new Set<Ref>();
  const put = (uuid: string, info: PatchInfo | undefined, state: HostPatchState): void => {
    const patch = patchOf(draft, uuid, info);
    if (patch === undefined) return;
    kept.add(patch);
    if (recordHostPatch(draft, { patch, host, newUuid }, state)) changed.push(uuid);
  };
  const halves = new Set(unfinished.map(({ uuid }) => uuid));
  for (const { uuid, info, appliedAt } of applied) {
    if (!halves.has(uuid)) put(uuid, info, { kind: 'applied', appliedAt });
  }
  for (const { uuid, beganAt } of unfinished) {
    const info = applied.find((one) => one.uuid === uuid)?.info;
    put(uuid, info, { kind: 'unfinished', beganAt });
  }
  for (const [ref, record] of draft.all('host_patch')) {
    if (record.host !== host || kept.has(record.pool_patch)) continue;
    changed.push(draft.find('pool_patch', record.pool_patch)?.uuid ?? record.uuid);
    draft.remove('host_patch', ref);
  }
  for (const [patch] of draft.all('pool_patch')) updatePoolApplied(draft, patch);
  return changed;
}
