import * as v from 'valibot';
import { bytesSchema, hex256Schema, internalCall, labelSchema, uuidSchema } from './internal-call.js';

/* What hosts tell each other about themselves. */

/** SRs of one host; more are a mistake. */
const MAX_SRS = 64;

const srSchema = v.strictObject({
  uuid: uuidSchema,
  nameLabel: labelSchema,
  /** Of the driver. */
  type: v.pipe(v.string(), v.maxLength(64)),
  capabilities: v.pipe(v.array(v.pipe(v.string(), v.maxLength(64))), v.maxLength(64)),
  shared: v.boolean(),
  deviceConfig: v.strictObject({ path: v.pipe(v.string(), v.maxLength(4096)) }),
});

export type SrAnnouncement = v.InferOutput<typeof srSchema>;

const announcementEntries = {
  nameLabel: labelSchema,
  hostname: labelSchema,
  /** As the field `host.address` has it. */
  address: v.pipe(v.string(), v.maxLength(256)),
  /** `https://host:8443`, where the master reaches it. */
  url: v.pipe(v.string(), v.maxLength(300), v.startsWith('https://')),
  /** SHA-256 of the certificate that it shows there. */
  certificate: hex256Schema,
  srs: v.pipe(
    v.array(srSchema),
    v.maxLength(MAX_SRS),
    v.check((srs) => new Set(srs.map(({ uuid }) => uuid)).size === srs.length, 'SRs that differ'),
  ),
};

/** What a slave says of itself. */
export const announcementSchema = v.strictObject(announcementEntries);

export type Announcement = v.InferOutput<typeof announcementSchema>;

/** `POST /internal/join`, with the name and password of an administrator. */
export const JOIN_PATH = '/internal/join';

export const joinRequestSchema = v.strictObject({
  ...announcementEntries,
  hostUuid: uuidSchema,
  /** Random, and known to nobody else: who has it may ask again when the answer was lost. */
  joinToken: hex256Schema,
});

export type JoinRequest = v.InferOutput<typeof joinRequestSchema>;

export const joinAnswerSchema = v.strictObject({
  poolUuid: uuidSchema,
  /** The slave's, of this membership. */
  key: hex256Schema,
});

/** From the slave to the master, at every start and until it is answered. */
export const HELLO = internalCall('host.hello', announcementSchema, v.strictObject({ poolUuid: uuidSchema }));

/** From the master to the slave, all the time. */
export const PING = internalCall(
  'host.ping',
  /** The certificate that the master has now. */
  v.strictObject({ certificate: hex256Schema }),
  v.strictObject({
    srs: v.pipe(
      v.array(
        v.strictObject({
          uuid: uuidSchema,
          /** Undefined: the SR is out of reach. */
          usage: v.optional(
            v.strictObject({
              physicalSize: bytesSchema,
              physicalUtilisation: bytesSchema,
              virtualAllocation: bytesSchema,
            }),
          ),
        }),
      ),
      v.maxLength(MAX_SRS),
    ),
  }),
);
