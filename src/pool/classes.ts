import {
  bool,
  datetime,
  float,
  int,
  internal,
  map,
  oneOf,
  referencesFrom,
  refTo,
  strings,
  text,
  volatile,
  type Field,
  type FieldValue,
} from './fields.js';

export const CLASS_NAMES = [
  'pool',
  'host',
  'SR',
  'PBD',
  'SM',
  'VDI',
  'VBD',
  'pool_patch',
  'host_patch',
  'task',
] as const;

export type ClassName = (typeof CLASS_NAMES)[number];

/**
 * The classes of the database: one row a field, with the XenAPI's name. Fields that clients need and that have a
 * meaning here; `pool_patch.VDI` is the mission's.
 */
export const CLASSES = {
  pool: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    master: refTo('host'),
    default_SR: refTo('SR'),
    other_config: map(),
  },
  host: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    address: text(),
    hostname: text(),
    enabled: bool(true),
    software_version: map(),
    PBDs: referencesFrom('PBD', 'host'),
    patches: referencesFrom('host_patch', 'host'),
    other_config: map(),
    /** Of a slave: `https://host:8443`, where the master reaches it. */
    url: internal(text()),
    /** Of a slave: SHA-256 of its certificate, lower-case hex; the only one that the master talks to. */
    certificate_sha256: internal(text()),
    /** Of a slave: what it chose when it joined, hex. Its key is made of it and of the pool secret. */
    join_token: internal(text()),
  },
  SR: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    type: text(),
    content_type: text(),
    shared: bool(),
    physical_size: volatile(int()),
    physical_utilisation: volatile(int()),
    virtual_allocation: volatile(int()),
    VDIs: referencesFrom('VDI', 'SR'),
    PBDs: referencesFrom('PBD', 'SR'),
    other_config: map(),
    /** What its driver can do, of one that only a slave has: known also while that is away. */
    capabilities: internal(strings()),
  },
  PBD: {
    uuid: text(),
    host: refTo('host'),
    SR: refTo('SR'),
    device_config: map(),
    currently_attached: bool(),
    other_config: map(),
  },
  /** A driver of storage repositories: `SM.type` is `SR.type`, and its capabilities are those of all such SRs. */
  SM: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    type: text(),
    capabilities: strings(),
    other_config: map(),
  },
  VDI: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    SR: refTo('SR'),
    VBDs: referencesFrom('VBD', 'VDI'),
    virtual_size: int(),
    physical_utilisation: int(),
    type: oneOf('user', 'system', 'ephemeral'),
    sharable: bool(),
    read_only: bool(),
    managed: bool(true),
    location: text(),
    other_config: map(),
    sm_config: map(),
    /**
     * The intent is on disk before anything is done to the disk, so that the next start knows what to remove: a
     * record that is not `ready` has a disk that is not complete.
     */
    state: internal(oneOf('ready', 'creating', 'destroying')),
  },
  VBD: {
    uuid: text(),
    VDI: refTo('VDI'),
    currently_attached: bool(),
    other_config: map(),
  },
  pool_patch: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    version: text(),
    /** Bytes of the upload. */
    size: int(),
    pool_applied: bool(),
    host_patches: referencesFrom('host_patch', 'pool_patch'),
    after_apply_guidance: strings(),
    /** "Add a field `pool_patch.VDI` of type `Ref(VDI)`." */
    VDI: refTo('VDI'),
    other_config: map(),
    /** Absolute path on the master; empty for a patch that never was a file there. */
    filename: internal(text()),
    /** A file whose content was replaced by a later upload, and which is still to be removed. */
    replaced_filename: internal(text()),
    /** Of the upload, lower-case hex; empty when it is not known. */
    sha256: internal(text()),
  },
  host_patch: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    version: text(),
    host: refTo('host'),
    applied: bool(),
    timestamp_applied: datetime(),
    size: int(),
    pool_patch: refTo('pool_patch'),
    other_config: map(),
  },
  task: {
    uuid: text(),
    name_label: text(),
    name_description: text(),
    created: datetime(),
    finished: datetime(),
    status: oneOf('pending', 'success', 'failure', 'cancelling', 'cancelled'),
    resident_on: refTo('host'),
    progress: volatile(float()),
    type: text('<none/>'),
    result: text(),
    error_info: strings(),
    other_config: map(),
    subtask_of: refTo('task'),
    subtasks: referencesFrom('task', 'subtask_of'),
    backtrace: text(),
  },
} as const satisfies Record<ClassName, Readonly<Record<string, Field>>>;

/** A record with all of its fields, internal and derived ones too. */
export type RecordOf<Class extends ClassName> = {
  readonly [Name in keyof (typeof CLASSES)[Class]]: (typeof CLASSES)[Class][Name] extends Field<infer Value>
    ? Value
    : never;
};

/** A record of any class. */
export type AnyRecord = Readonly<Record<string, FieldValue>>;

/** The rows of a class by name, for code that knows no class in particular. */
export function fieldsOf(name: ClassName): Readonly<Record<string, Field>> {
  return CLASSES[name];
}

export function isClassName(name: string): name is ClassName {
  return CLASS_NAMES.some((known) => known === name);
}
