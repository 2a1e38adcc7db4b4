import { isIP } from 'node:net';
import * as v from 'valibot';
import { isUuid } from '../pool/folder-places.js';
import { VDI_CLONE } from '../pool/storage.js';
import { normalFingerprint } from '../signature/policy.js';
import { parseByteSize } from '../units.js';
import { ROLES } from './account.js';
import { isCertificateName } from './certificate-names.js';
import { LIMITS, type LimitKey } from './limits.js';
import { isPasswordHash } from './password-hash.js';

/*
 * The configuration as it stands in the file. Each message says what was expected; found, line and column are added
 * where they are known (config-validate.ts).
 */

const MAX_LIST = 1000;
const MAX_NAME_CHARACTERS = 256;

const text = v.string('a text; numbers and such need quotes');
/** What a terminal would obey or hide. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** Printed, logged and sent about. */
const label = v.pipe(
  text,
  v.check(
    (value) => value.trim() !== '' && value.length <= MAX_NAME_CHARACTERS && !UNPRINTABLE.test(value),
    `1 to ${MAX_NAME_CHARACTERS} characters, all of them to be seen`,
  ),
);

const path = v.pipe(
  text,
  v.check((value) => value !== '' && value.length <= 4096 && !value.includes('\0'), 'the path of a file'),
);

const listOf = <Item extends v.GenericSchema>(item: Item, what: string) =>
  v.pipe(
    v.array(item, `a list of ${what}`),
    v.minLength(1, `at least one of ${what}`),
    v.maxLength(MAX_LIST, `at most ${MAX_LIST} of ${what}`),
  );

/** Letters, figures and signs; a colon would end a name in Basic authentication (RFC 7617, 2). */
const userName = v.pipe(
  label,
  v.check(
    (value) => !value.includes(':') && value === value.trim(),
    'a name without a colon or space around it',
  ),
);

const bytes = v.pipe(
  v.union([v.string(), v.number()], 'a size such as 100G, or a number of bytes'),
  v.check((value) => bytesOf(value) !== undefined, 'a size such as 100G, or a number of bytes'),
);

/** Bytes of what the schema let pass. */
export function bytesOf(value: string | number): number | undefined {
  if (typeof value === 'string') return parseByteSize(value);
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

const wholeNumber = (least: number, most: number) => {
  const expected = `a whole number from ${least} to ${most}`;
  return v.pipe(
    v.number(expected),
    v.check((value) => Number.isInteger(value) && value >= least && value <= most, expected),
  );
};

/** Keys and values. A list is no group, though the schema's objects would take an empty one. */
const group = <const Entries extends v.ObjectEntries>(entries: Entries, expected = 'a group of keys') =>
  v.pipe(
    v.custom<object>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      expected,
    ),
    v.strictObject(entries),
  );

const flag = v.boolean('true or false');

const listen = group({
  address: v.optional(
    v.pipe(
      text,
      v.check((value) => isIP(value) !== 0 || value === 'localhost', 'an IP address, or localhost'),
    ),
  ),
  port: v.optional(wholeNumber(0, 65_535)),
});

const host = group({
  name_label: v.optional(label),
  address: v.optional(v.pipe(text, v.check(isCertificateName, 'an IP address or a host name'))),
});

/** What folders can do. */
const CAPABILITIES = ['VDI_CREATE', 'VDI_DELETE', VDI_CLONE] as const;

const repository = group({
  name_label: label,
  path,
  uuid: v.optional(
    v.pipe(
      text,
      v.check((value) => isUuid(value.toLowerCase()), 'a UUID: 8-4-4-4-12 hexadecimal digits'),
    ),
  ),
  default: v.optional(flag),
  shared: v.optional(flag),
  capabilities: v.optional(
    v.array(v.picklist(CAPABILITIES, `one of ${CAPABILITIES.join(', ')}`), 'a list of capabilities'),
  ),
  quota: v.optional(
    v.pipe(
      bytes,
      v.check((value) => (bytesOf(value) ?? 0) > 0, 'a size above 0'),
    ),
  ),
});

const user = group({
  name: userName,
  role: v.picklist(ROLES, `one of ${ROLES.join(', ')}`),
  password_hash: v.optional(
    v.pipe(
      text,
      v.check(isPasswordHash, 'a scrypt hash as patch-vdi makes it: $scrypt$ln=15,r=8,p=1$SALT$HASH'),
    ),
  ),
  password_file: v.optional(path),
});

const tlsParts = group(
  {
    certificate: v.optional(path),
    key: v.optional(path),
    self_signed: v.nullish(
      group({
        names: v.optional(
          listOf(v.pipe(text, v.check(isCertificateName, 'a host name or an IP address')), 'names'),
        ),
      }),
    ),
  },
  'off, or certificate and key, or self_signed',
);
const tlsOff = v.literal('off', 'off, or certificate and key, or self_signed');

const signature = group({
  keyrings: v.optional(listOf(path, 'keyrings')),
  signers: v.optional(
    listOf(
      v.pipe(text, v.check(isFingerprint, 'a full fingerprint: 40 or 64 hexadecimal digits')),
      'signers',
    ),
  ),
  allow_weak_digest: v.optional(flag),
  allow_expired_key: v.optional(flag),
});

function isFingerprint(value: string): boolean {
  try {
    return normalFingerprint(value) !== '';
  } catch {
    return false;
  }
}

function limitSchema({ key, least, most }: (typeof LIMITS)[number]): v.GenericSchema<string | number> {
  if (!key.endsWith('_bytes')) return wholeNumber(least, most);
  const inside = (value: string | number): boolean => {
    const found = bytesOf(value);
    return found !== undefined && found >= least && found <= most;
  };
  return v.pipe(bytes, v.check(inside, `a size from ${least} to ${most} bytes`));
}

const limits = group(
  Object.fromEntries(LIMITS.map((row) => [row.key, v.optional(limitSchema(row))])) as Record<
    LimitKey,
    v.OptionalSchema<v.GenericSchema<string | number>, undefined>
  >,
);

/** As pino has them. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** The whole file. */
export const configSchema = group({
  listen: v.optional(listen),
  host: v.optional(host),
  storage_repositories: v.optional(listOf(repository, 'storage repositories')),
  users: v.optional(listOf(user, 'users')),
  tls: v.optional(v.lazy((value) => (typeof value === 'string' ? tlsOff : tlsParts))),
  signature: v.optional(signature),
  limits: v.optional(limits),
  log: v.optional(group({ level: v.optional(v.picklist(LOG_LEVELS, `one of ${LOG_LEVELS.join(', ')}`)) })),
});

export type RawConfig = v.InferOutput<typeof configSchema>;
