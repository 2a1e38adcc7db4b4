import * as v from 'valibot';

/** What a reference is that leads nowhere. */
export const NULL_REF = 'OpaqueRef:NULL';

/** More of anything is no pool. */
const MAX_RECORDS = 100_000;
const MAX_MEMBERS = 10_000;
const MAX_TEXT_CHARACTERS = 65_536;

const text = v.pipe(v.string(), v.maxLength(MAX_TEXT_CHARACTERS));
const reference = v.pipe(v.string(), v.nonEmpty(), v.maxLength(256));
const bytes = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const texts = v.pipe(v.array(text), v.maxLength(MAX_MEMBERS));
const map = v.pipe(v.record(text, text), v.maxEntries(MAX_MEMBERS));

/**
 * References and records, as `get_all_records` answers. References are looked up in it, and are what a server says:
 * `constructor` must lead nowhere.
 */
const all = <Schema extends v.GenericSchema>(record: Schema) =>
  v.pipe(
    v.record(reference, record),
    v.maxEntries(MAX_RECORDS),
    v.transform((records) => Object.assign(Object.create(null) as typeof records, records)),
  );

export const REFERENCE = reference;

/** `VDI` is the mission's field: a XenServer of today has none. */
export const PATCH = v.object({
  uuid: text,
  name_label: text,
  name_description: text,
  version: text,
  size: bytes,
  pool_applied: v.boolean(),
  host_patches: texts,
  after_apply_guidance: texts,
  VDI: v.optional(reference, NULL_REF),
});

export const VDI = v.object({
  uuid: text,
  name_label: text,
  SR: reference,
  virtual_size: bytes,
  /** XAPI answers -1 while it does not know. */
  physical_utilisation: v.pipe(v.number(), v.safeInteger()),
  other_config: v.optional(map, {}),
  /** What connects it with VMs, running or not. A server of ours has none. */
  VBDs: v.optional(texts, []),
});

export const SR = v.object({
  uuid: text,
  name_label: text,
  type: text,
  content_type: text,
  shared: v.boolean(),
  /** Below zero while XAPI does not know, or for drives. */
  physical_size: v.pipe(v.number(), v.safeInteger()),
  physical_utilisation: v.pipe(v.number(), v.safeInteger()),
  virtual_allocation: v.optional(v.pipe(v.number(), v.safeInteger()), 0),
  /** A server of ours has none. */
  sm_config: v.optional(map, {}),
});

export const HOST = v.object({
  uuid: text,
  name_label: text,
  address: v.optional(text, ''),
  enabled: v.optional(v.boolean()),
  /** A server of ours has none. */
  metrics: v.optional(reference, NULL_REF),
});

const HOST_METRICS = v.object({ live: v.boolean() });

/** Not applied: an apply there was killed, and the patch may have run in part. */
const HOST_PATCH = v.object({ host: reference, pool_patch: reference, applied: v.boolean() });

const POOL = v.object({ uuid: text, master: reference, default_SR: reference });

/** What connects a host with an SR. */
const PBD = v.object({ host: reference, SR: reference, currently_attached: v.boolean() });

/** A driver of SRs, where a server has such records. */
const SM = v.object({ type: text, capabilities: texts });

export const TASK = v.object({
  uuid: text,
  name_label: text,
  name_description: v.optional(text, ''),
  created: text,
  finished: text,
  status: v.picklist(['pending', 'success', 'failure', 'cancelling', 'cancelled']),
  progress: v.pipe(v.number(), v.finite()),
  result: text,
  error_info: texts,
  other_config: map,
});

export const PATCHES = all(PATCH);
export const VDIS = all(VDI);
export const SRS = all(SR);
export const POOLS = all(POOL);
export const HOSTS = all(HOST);
export const HOSTS_METRICS = all(HOST_METRICS);
export const HOST_PATCHES = all(HOST_PATCH);
export const SMS = all(SM);
export const TASKS = all(TASK);
export const PBDS = all(PBD);
export const REFERENCES = v.pipe(v.array(reference), v.maxLength(MAX_MEMBERS));

export type PatchRecord = v.InferOutput<typeof PATCH>;
export type VdiRecord = v.InferOutput<typeof VDI>;
export type SrRecord = v.InferOutput<typeof SR>;
export type HostRecord = v.InferOutput<typeof HOST>;
export type TaskRecord = v.InferOutput<typeof TASK>;
