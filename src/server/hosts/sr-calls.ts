import * as v from 'valibot';
import { bytesSchema, internalCall, labelSchema, uuidSchema } from './internal-call.js';

/* What the master asks of a slave's storage repositories; the streams of disks have a path of their own. */

const place = { sr: uuidSchema, vdi: uuidSchema };

/** More disks or names in one answer are none of an SR of ours. */
const MAX_LIST = 100_000;
/** UUIDs in one request. */
export const MAX_UUIDS = 50;

const vdiFactsSchema = v.strictObject({
  uuid: uuidSchema,
  location: v.pipe(v.string(), v.maxLength(256)),
  virtualSize: bytesSchema,
  physicalUtilisation: bytesSchema,
});

const usageSchema = v.strictObject({
  physicalSize: bytesSchema,
  physicalUtilisation: bytesSchema,
  virtualAllocation: bytesSchema,
  freeBytes: bytesSchema,
});

export const SR_USAGE = internalCall('sr.usage', v.strictObject({ sr: uuidSchema }), usageSchema);

export const SR_LIST_VDIS = internalCall(
  'sr.list-vdis',
  v.strictObject({ sr: uuidSchema }),
  v.pipe(v.array(uuidSchema), v.maxLength(MAX_LIST)),
);

export const SR_REMOVE_REMAINS = internalCall(
  'sr.remove-remains',
  v.strictObject({ sr: uuidSchema, vdis: v.pipe(v.array(uuidSchema), v.maxLength(MAX_UUIDS)) }),
  v.pipe(v.array(v.pipe(v.string(), v.maxLength(256))), v.maxLength(MAX_LIST)),
);

export const VDI_CREATE = internalCall(
  'vdi.create',
  v.strictObject({ ...place, nameLabel: labelSchema, virtualSize: bytesSchema }),
  vdiFactsSchema,
);

export const VDI_DESTROY = internalCall('vdi.destroy', v.strictObject(place), v.null());

export const VDI_FACTS = internalCall('vdi.facts', v.strictObject(place), vdiFactsSchema);

export const VDI_CLONE_CALL = internalCall(
  'vdi.clone',
  v.strictObject({ ...place, to: uuidSchema, nameLabel: labelSchema }),
  vdiFactsSchema,
);
