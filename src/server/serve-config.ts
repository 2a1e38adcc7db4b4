import { dirname, resolve } from 'node:path';
import { PatchVdiError } from '../errors.js';
import type { PatchPolicy } from '../pool/receive-patch.js';
import type { Role } from './account.js';
import { checkConfig } from './config-checks.js';
import { configSchema, type LogLevel, type RawConfig } from './config-schema.js';
import { completeConfig } from './config-values.js';
import { validated } from './config-validate.js';
import type { Limits } from './limits.js';
import { readCarefully } from './private-file.js';
import { parseYamlText } from './yaml-text.js';

/** What `patch-vdi serve` is told. All paths are absolute. */
export interface ServeConfig {
  readonly listen: ListenConfig;
  /** Undefined: what the machine calls itself, and where it listens. */
  readonly host: { readonly nameLabel: string | undefined; readonly address: string | undefined };
  /** Empty: one in the state folder. */
  readonly storageRepositories: readonly RepositoryConfig[];
  /** Undefined: those of the state folder. */
  readonly users: readonly UserConfig[] | undefined;
  readonly tls: TlsConfig;
  /** Without keyrings: those of the state folder. */
  readonly signature: PatchPolicy;
  readonly limits: Limits;
  readonly log: { readonly level: LogLevel };
}

export interface ListenConfig {
  /** An IP address, or `localhost`. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface RepositoryConfig {
  readonly nameLabel: string;
  readonly path: string;
  /** Undefined: its folder's mark has it, or it gets one. */
  readonly uuid: string | undefined;
  readonly isDefault: boolean;
  readonly shared: boolean;
  readonly capabilities: readonly string[];
  readonly quotaBytes: number | undefined;
}

/** One of the two is there. */
export interface UserConfig {
  readonly name: string;
  readonly role: Role;
  /** As `hashPassword` makes it. */
  readonly passwordHash: string | undefined;
  /** A file whose first line is the password. */
  readonly passwordFile: string | undefined;
}

export type TlsConfig =
  | { readonly kind: 'files'; readonly certificatePath: string; readonly keyPath: string }
  /** Without names: those of the host, and localhost. */
  | { readonly kind: 'self-signed'; readonly names: readonly string[] | undefined }
  | { readonly kind: 'off' };

export interface ConfigFile {
  /** For messages. */
  readonly fileName: string;
  /** What relative paths start from: the file's. */
  readonly folder: string;
}

/**
 * Reads a configuration of `patch-vdi serve`.
 *
 * @throws PatchVdiError `usage` for the first fault, with the path `FILE:LINE:COLUMN`, what was found and expected;
 *   what stands in the file as a password or hash is not in it
 */
export function parseServeConfig(text: string, { fileName, folder }: ConfigFile): ServeConfig {
  const yaml = parseYamlText(text, fileName);
  // An empty file, or one of comments, is a configuration.
  const raw: RawConfig = yaml.value === null ? {} : validated(configSchema, yaml);
  checkConfig(raw, yaml);
  return completeConfig(raw, folder);
}

/**
 * Reads the file of a configuration. Everybody may read it, as far as the server is concerned: it has no passwords.
 *
 * @throws PatchVdiError `usage` as {@link parseServeConfig}; also when the file is missing, too large, or everybody may
 *   change it
 */
export async function readServeConfig(path: string): Promise<ServeConfig> {
  const text = await readCarefully(path, 'trusted');
  if (text !== undefined) return parseServeConfig(text, { fileName: path, folder: dirname(resolve(path)) });
  throw new PatchVdiError('usage', 'there is no such configuration', { context: { path, found: 'no file' } });
}

/** What serves when nothing is configured. */
export function defaultServeConfig(): ServeConfig {
  return completeConfig({}, '/');
}
