import { fieldsOf, type AnyRecord, type ClassName } from '../../pool/classes.js';
import type { FieldType, FieldValue, Ref } from '../../pool/fields.js';
import type { Pool } from '../../pool/open-pool.js';
import { DateTime, type RpcStruct, type RpcValue } from '../rpc-value.js';

/** The value of a field as it travels. */
function rpcOfField(type: FieldType, value: FieldValue): RpcValue {
  if (typeof value === 'number') return type.kind === 'int' ? BigInt(value) : value;
  if (typeof value === 'string' && type.kind === 'datetime') return new DateTime(value);
  return value;
}

/**
 * The version of the XenAPI that is spoken here: that of XenServer 7.0, the last one whose hosts were patched by
 * `pool_patch`.
 */
const API_VERSION = { major: 2n, minor: 5n, vendor: 'XenSource' } as const;

/** Records as clients see them. */
export class RecordView {
  readonly #pool: Pool;
  readonly #hostFacts: RpcStruct;
  readonly #software: Readonly<Record<string, string>>;

  constructor(pool: Pool, productVersion: string) {
    this.#pool = pool;
    this.#software = { product_brand: 'patch-vdi', product_version: productVersion };
    this.#hostFacts = {
      API_version_major: API_VERSION.major,
      API_version_minor: API_VERSION.minor,
      API_version_vendor: API_VERSION.vendor,
      API_version_vendor_implementation: {},
    };
  }

  /** @param record as the database gives it */
  of(name: ClassName, ref: Ref, record: AnyRecord): RpcStruct {
    const fields = fieldsOf(name);
    const entries = Object.entries(record).flatMap(([field, value]) => {
      const row = fields[field];
      return row === undefined ? [] : [[field, rpcOfField(row.type, value)] as const];
    });
    const struct = Object.fromEntries(entries);
    if (name !== 'host' || ref !== this.#pool.host) return struct;
    // What this program is stands in no database.
    const { software_version: software } = this.#pool.database.get('host', ref);
    return { ...struct, ...this.#hostFacts, software_version: { ...software, ...this.#software } };
  }

  /** `get_record`. @throws PoolError HANDLE_INVALID */
  record(name: ClassName, ref: Ref): RpcStruct {
    return this.of(name, ref, this.#pool.database.getRecord(name, ref));
  }

  /** `get_all_records` */
  allRecords(name: ClassName): RpcStruct {
    const records = Object.entries(this.#pool.database.getAllRecords(name));
    return Object.fromEntries(records.map(([ref, record]) => [ref, this.of(name, ref, record)]));
  }

  /** The fields that have a getter. */
  fieldNames(name: ClassName): readonly string[] {
    const open = Object.entries(fieldsOf(name)).filter(([, { internal }]) => internal !== true);
    const own = open.map(([field]) => field);
    return name === 'host' ? [...own, ...Object.keys(this.#hostFacts)] : own;
  }
}
