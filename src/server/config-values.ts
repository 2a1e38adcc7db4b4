import { resolve } from 'node:path';
import type { PatchPolicy } from '../pool/receive-patch.js';
import { VDI_CLONE } from '../pool/storage.js';
import { bytesOf, type RawConfig } from './config-schema.js';
import { LIMITS, limitsWith, type LimitKey, type Limits } from './limits.js';
import type { RepositoryConfig, ServeConfig, TlsConfig, UserConfig } from './serve-config.js';

type Defined<Value> = Exclude<Value, undefined>;

type Resolve = (path: string) => string;

function repositoryOf(
  raw: Defined<RawConfig['storage_repositories']>[number],
  absolute: Resolve,
): RepositoryConfig {
  return {
    nameLabel: raw.name_label,
    path: absolute(raw.path),
    uuid: raw.uuid?.toLowerCase(),
    isDefault: raw.default ?? false,
    shared: raw.shared ?? false,
    // Folders clone: with shared blocks where the file system can, else by a copy.
    capabilities: raw.capabilities ?? [VDI_CLONE],
    quotaBytes: raw.quota === undefined ? undefined : bytesOf(raw.quota),
  };
}

function userOf(raw: Defined<RawConfig['users']>[number], absolute: Resolve): UserConfig {
  return {
    name: raw.name,
    role: raw.role,
    passwordHash: raw.password_hash,
    passwordFile: raw.password_file === undefined ? undefined : absolute(raw.password_file),
  };
}

function tlsOf(raw: RawConfig['tls'], absolute: Resolve): TlsConfig {
  if (typeof raw === 'string') return { kind: 'off' };
  if (raw?.certificate !== undefined && raw.key !== undefined) {
    return { kind: 'files', certificatePath: absolute(raw.certificate), keyPath: absolute(raw.key) };
  }
  return { kind: 'self-signed', names: raw?.self_signed?.names };
}

function policyOf(raw: RawConfig['signature'], absolute: Resolve): PatchPolicy {
  const { keyrings = [], signers, allow_weak_digest: weak, allow_expired_key: expired } = raw ?? {};
  return {
    keyrings: keyrings.map(absolute),
    ...(signers === undefined ? {} : { signers }),
    ...(weak === undefined ? {} : { allowWeakDigest: weak }),
    ...(expired === undefined ? {} : { allowExpiredKey: expired }),
  };
}

function limitsOf(raw: RawConfig['limits'] = {}): Limits {
  const given: Partial<Record<LimitKey, number>> = {};
  for (const { key } of LIMITS) {
    const value = raw[key];
    const number = value === undefined ? undefined : bytesOf(value);
    if (number !== undefined) given[key] = number;
  }
  return limitsWith(given);
}

/** What was checked, with every default. Relative paths start from `folder`. */
export function completeConfig(raw: RawConfig, folder: string): ServeConfig {
  const absolute: Resolve = (path) => resolve(folder, path);
  return {
    listen: { address: raw.listen?.address ?? '127.0.0.1', port: raw.listen?.port ?? 8443 },
    host: { nameLabel: raw.host?.name_label, address: raw.host?.address },
    storageRepositories: (raw.storage_repositories ?? []).map((one) => repositoryOf(one, absolute)),
    users: raw.users?.map((one) => userOf(one, absolute)),
    tls: tlsOf(raw.tls, absolute),
    signature: policyOf(raw.signature, absolute),
    limits: limitsOf(raw.limits),
    log: { level: raw.log?.level ?? 'info' },
  };
}
