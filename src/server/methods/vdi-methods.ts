import { CLASSES } from '../../pool/classes.js';
import { NULL_REF } from '../../pool/fields.js';
import { PoolError } from '../../pool/pool-error.js';
import { roundUp, SECTOR_BYTES, TIB } from '../../units.js';
import { VOID, type RpcStruct } from '../rpc-value.js';
import { method, type MethodTable } from '../rpc/method.js';
import { bool, integer, optional, readMember, struct, text, textMap } from '../rpc/parameters.js';

/** Beyond it no file system that we make ends. */
const MAX_VIRTUAL_BYTES = 16 * TIB;

const VDI_TYPES = CLASSES.VDI.type.type;

function unsupported(field: string, value: string, reason: string): PoolError {
  return new PoolError('VALUE_NOT_SUPPORTED', [field, value, reason]);
}

function vdiType(record: RpcStruct): 'user' | 'system' | 'ephemeral' {
  const given = readMember(record, optional(text('type'), 'user'));
  const values = VDI_TYPES.kind === 'enum' ? VDI_TYPES.values : [];
  if (given === 'user' || given === 'system' || given === 'ephemeral') return given;
  throw unsupported('type', given, `one of ${values.join(', ')} is`);
}

function virtualBytes(record: RpcStruct): number {
  const bytes = readMember(record, integer('virtual_size'));
  if (bytes > 0 && bytes <= MAX_VIRTUAL_BYTES) return roundUp(bytes, SECTOR_BYTES);
  throw unsupported('virtual_size', String(bytes), `1 to ${MAX_VIRTUAL_BYTES} is`);
}

/** What nobody here would heed must not look as if it were. */
function refuseFlags(record: RpcStruct): void {
  for (const flag of ['sharable', 'read_only']) {
    if (readMember(record, optional(bool(flag), false))) throw unsupported(flag, 'true', 'only false is');
  }
}

/** Parameters of XAPI's `VDI.copy` for incremental copies. */
function refuseIncremental(field: string, ref: string): void {
  if (ref !== '' && ref !== NULL_REF) throw unsupported(field, ref, 'only a whole disk is copied');
}

export const vdiMethods: MethodTable = {
  /** Fields that a record of XAPI has beside ours are passed over. */
  'VDI.create': method({
    role: 'vm-admin',
    parameters: [struct('args')],
    run: ({ pool }, [record]) => {
      refuseFlags(record);
      return pool.vdis.create({
        sr: readMember(record, text('SR')),
        nameLabel: readMember(record, optional(text('name_label'), '')),
        nameDescription: readMember(record, optional(text('name_description'), '')),
        virtualSize: virtualBytes(record),
        type: vdiType(record),
        otherConfig: readMember(record, optional(textMap('other_config'), {})),
        smConfig: readMember(record, optional(textMap('sm_config'), {})),
      });
    },
  }),
  'VDI.copy': method({
    role: 'vm-admin',
    parameters: [
      text('vdi'),
      text('sr'),
      optional(text('base_vdi'), NULL_REF),
      optional(text('into_vdi'), NULL_REF),
    ],
    run: ({ pool, task, signal }, [vdi, sr, base, into]) => {
      refuseIncremental('base_vdi', base);
      refuseIncremental('into_vdi', into);
      return pool.vdis.copy(vdi, sr, { task, signal });
    },
  }),
  'VDI.clone': method({
    role: 'vm-admin',
    parameters: [text('vdi'), optional(textMap('driver_params'), {})],
    run: ({ pool, task, signal }, [vdi]) => pool.vdis.clone(vdi, { task, signal }),
  }),
  'VDI.destroy': method({
    role: 'vm-admin',
    parameters: [text('self')],
    run: async ({ pool }, [self]) => {
      await pool.vdis.destroy(self);
      return VOID;
    },
  }),
};
