import { randomBytes, randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { PatchVdiError } from '../../errors.js';
import { JOURNAL_FILE } from '../../pool/database.js';
import { readCarefully, writeWhole } from '../private-file.js';
import { hex256Schema, uuidSchema } from './internal-call.js';
import { SECRET_BYTES } from './proof.js';

/*
 * STATE/membership.json (0600): whose slave this host is. It is there before the master is asked, so that a host that
 * was killed while it joined asks again as the same one; `key` and `pool_uuid` come with the master's answer.
 *
 *   { "format": "patch-vdi membership 1", "host_uuid": "…", "join_token": "…",
 *     "master": { "url": "https://master:8443", "certificate_sha256": "…" },
 *     "pool_uuid": "…", "key": "…" }
 */

export const MEMBERSHIP_FILE = 'membership.json';
const FORMAT = 'patch-vdi membership 1';

const fileSchema = v.strictObject({
  format: v.literal(FORMAT),
  host_uuid: uuidSchema,
  join_token: hex256Schema,
  master: v.optional(v.strictObject({ url: v.string(), certificate_sha256: hex256Schema })),
  pool_uuid: v.optional(uuidSchema),
  key: v.optional(hex256Schema),
});

export interface MasterPlace {
  readonly url: string;
  /** SHA-256, lower-case hex: the only one that is talked to. */
  readonly certificateSha256: string;
}

/** What the master gave. */
export interface Joined {
  readonly master: MasterPlace;
  readonly poolUuid: string;
  readonly key: Uint8Array;
}

export interface Membership {
  readonly hostUuid: string;
  /** 256 bits, lower-case hex. */
  readonly joinToken: string;
  /** Undefined: the master has not answered yet. */
  readonly joined: Joined | undefined;
}

/** @returns undefined for a host that never asked. @throws PatchVdiError `usage` | `image` */
export async function readMembership(stateFolder: string): Promise<Membership | undefined> {
  const path = join(stateFolder, MEMBERSHIP_FILE);
  const text = await readCarefully(path, 'secret');
  if (text === undefined) return undefined;
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), fileSchema), text);
  if (!parsed.success) {
    throw new PatchVdiError('image', 'the file of the membership is damaged', {
      context: { operation: 'read whose slave this host is', path, found: 'another text', expected: FORMAT },
      hint: 'on the master, eject this host; then remove the file and join again',
    });
  }
  const { host_uuid: hostUuid, join_token: joinToken, master, pool_uuid: poolUuid, key } = parsed.output;
  const isWhole = master !== undefined && poolUuid !== undefined && key !== undefined;
  const joined = isWhole
    ? {
        master: { url: master.url, certificateSha256: master.certificate_sha256 },
        poolUuid,
        key: Buffer.from(key, 'hex'),
      }
    : undefined;
  return { hostUuid, joinToken, joined };
}

/** Whoever calls holds the lock of the state. @throws PatchVdiError `space` | `sink` */
export async function writeMembership(stateFolder: string, membership: Membership): Promise<void> {
  const { hostUuid, joinToken, joined } = membership;
  const rest =
    joined === undefined
      ? {}
      : {
          master: { url: joined.master.url, certificate_sha256: joined.master.certificateSha256 },
          pool_uuid: joined.poolUuid,
          key: Buffer.from(joined.key).toString('hex'),
        };
  const content = { format: FORMAT, host_uuid: hostUuid, join_token: joinToken, ...rest };
  await writeWhole(join(stateFolder, MEMBERSHIP_FILE), `${JSON.stringify(content, undefined, 2)}\n`, 0o600);
}

/** The beginning of one. */
export function newMembership(): Membership {
  return {
    hostUuid: randomUUID(),
    joinToken: randomBytes(SECRET_BYTES).toString('hex'),
    joined: undefined,
  };
}

/** A pool of its own cannot join another one: nothing of it would be found there. @throws PatchVdiError `usage` */
export async function requireNoPool(stateFolder: string): Promise<void> {
  const path = join(stateFolder, JOURNAL_FILE);
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  throw new PatchVdiError('usage', 'this host is the master of a pool already', {
    context: { path: stateFolder, found: 'the records of a pool', expected: 'a new state folder' },
    hint: 'give it another state folder with --state; its storage repositories can be the same',
  });
}
