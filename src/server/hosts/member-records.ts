import { timingSafeEqual } from 'node:crypto';
import type { Draft } from '../../pool/draft.js';
import type { Ref } from '../../pool/fields.js';
import { PoolError } from '../../pool/pool-error.js';
import type { Announcement, JoinRequest, SrAnnouncement } from './host-calls.js';

/** What a record says must be one line that can be read. */
const plain = (text: string): string => text.replaceAll(/\p{C}/gu, ' ');

export interface MemberRules {
  /** SRs that the master has itself, and whether they are shared. */
  readonly ownSrs: ReadonlyMap<string, { readonly shared: boolean }>;
  readonly newUuid: () => string;
}

/** An SR that a host may not have, and why. */
export interface RefusedSr {
  readonly uuid: string;
  readonly reason: string;
}

/** Hosts of one pool, the master too. */
const MAX_HOSTS = 64;

/**
 * As part of a change: the record of a host that joins. One that has joined already and asks again, with the token
 * that nobody else has, gets the same.
 *
 * @throws PoolError VALUE_NOT_SUPPORTED for a UUID that another host has, and for an SR that it may not bring
 */
export function recordJoin(draft: Draft, request: JoinRequest, rules: MemberRules): Ref {
  const hosts = draft.all('host');
  const known = hosts.find(([, { uuid }]) => uuid === request.hostUuid);
  // Also the master: it has no token.
  if (known !== undefined && !isSameToken(known[1].join_token, request.joinToken)) {
    throw new PoolError('VALUE_NOT_SUPPORTED', [
      'host',
      request.hostUuid,
      'another host has it: eject it first',
    ]);
  }
  if (known === undefined && hosts.length >= MAX_HOSTS) {
    throw new PoolError('VALUE_NOT_SUPPORTED', ['host', request.hostUuid, `a pool has ${MAX_HOSTS} at most`]);
  }
  const { hostUuid: uuid, joinToken } = request;
  const host = known?.[0] ?? draft.create('host', { uuid, join_token: joinToken, enabled: false });
  const [refused] = recordAnnouncement(draft, host, request, rules);
  if (refused !== undefined) throw new PoolError('VALUE_NOT_SUPPORTED', ['SR', refused.uuid, refused.reason]);
  return host;
}

function isSameToken(known: string, given: string): boolean {
  const [one, other] = [Buffer.from(known), Buffer.from(given)];
  return one.length > 0 && one.length === other.length && timingSafeEqual(one, other);
}

/** As part of a change: what a host says of itself. @returns the SRs that it may not have */
export function recordAnnouncement(
  draft: Draft,
  host: Ref,
  { nameLabel, hostname, address, url, certificate, srs }: Announcement,
  rules: MemberRules,
): readonly RefusedSr[] {
  draft.update('host', host, {
    name_label: plain(nameLabel),
    hostname: plain(hostname),
    address: plain(address),
    url,
    certificate_sha256: certificate,
  });
  const refused: RefusedSr[] = [];
  const taken = new Set<Ref>();
  for (const sr of srs) {
    const reason = refusalOf(draft, host, sr, rules);
    if (reason === undefined) taken.add(recordSr(draft, host, sr, rules));
    else refused.push({ uuid: sr.uuid, reason });
  }
  // What it does not have any more is detached; its records stay, in case it comes back.
  for (const [pbd, record] of draft.all('PBD')) {
    if (record.host === host && !taken.has(record.SR))
      draft.update('PBD', pbd, { currently_attached: false });
  }
  return refused;
}

/** Nobody brings an SR that is somebody else's. @returns why not */
function refusalOf(
  draft: Draft,
  host: Ref,
  { uuid, shared }: SrAnnouncement,
  { ownSrs }: MemberRules,
): string | undefined {
  const own = ownSrs.get(uuid);
  if (own !== undefined) {
    return own.shared && shared
      ? undefined
      : 'the master has it, and it is not shared in both configurations';
  }
  // Through whom it is reached must not depend on who speaks first.
  if (shared) return 'it is shared, and the master does not have it';
  const sr = draft.all('SR').find(([, record]) => record.uuid === uuid)?.[0];
  const others = draft.all('PBD').filter(([, pbd]) => pbd.SR === sr && pbd.host !== host);
  return sr !== undefined && others.length > 0 ? 'another host has it' : undefined;
}

function recordSr(draft: Draft, host: Ref, announced: SrAnnouncement, { ownSrs, newUuid }: MemberRules): Ref {
  const { uuid, nameLabel, type, capabilities, deviceConfig } = announced;
  let sr = draft.all('SR').find(([, record]) => record.uuid === uuid)?.[0];
  if (sr === undefined || !ownSrs.has(uuid)) {
    const values = {
      uuid,
      name_label: plain(nameLabel),
      type: plain(type),
      content_type: 'user',
      shared: false,
      capabilities,
    };
    if (sr === undefined) sr = draft.create('SR', values);
    else draft.update('SR', sr, values);
  }
  const device_config = { path: plain(deviceConfig.path) };
  const pbd = draft.all('PBD').find(([, record]) => record.SR === sr && record.host === host)?.[0];
  if (pbd !== undefined) draft.update('PBD', pbd, { device_config });
  else draft.create('PBD', { uuid: newUuid(), host, SR: sr, device_config, currently_attached: false });
  return sr;
}

/** As part of a change: the host and all that only it had. Its disks stay where they are. @returns UUIDs of the SRs */
export function removeMember(draft: Draft, host: Ref): readonly string[] {
  const removed: string[] = [];
  for (const [pbd, record] of draft.all('PBD')) {
    if (record.host !== host) continue;
    draft.remove('PBD', pbd);
    if (draft.all('PBD').some(([, other]) => other.SR === record.SR)) continue;
    removed.push(draft.find('SR', record.SR)?.uuid ?? '');
    for (const [vdi, { SR }] of draft.all('VDI')) if (SR === record.SR) draft.remove('VDI', vdi);
    draft.remove('SR', record.SR);
  }
  for (const [ref, record] of draft.all('host_patch')) {
    if (record.host === host) draft.remove('host_patch', ref);
  }
  draft.remove('host', host);
  return removed;
}
