import { KIB, MIB } from '../units.js';

interface LimitRow {
  readonly key: string;
  readonly byDefault: number;
  readonly least: number;
  readonly most: number;
}

/**
 * What clients may take of the server: the keys of `limits` in a configuration, each with its unit in its name.
 * Those that end in `_bytes` may be written as sizes (`64K`).
 */
export const LIMITS = [
  /** Connections that are open, whatever they do. */
  { key: 'connections_at_once', byDefault: 512, least: 4, most: 65_536 },
  /** … and of one client: an address of IPv4, 64 bits of one of IPv6. */
  { key: 'connections_per_client', byDefault: 256, least: 1, most: 65_536 },
  /** Requests that are being answered, of all clients. */
  { key: 'requests_at_once', byDefault: 256, least: 2, most: 65_536 },
  /** … and of one client. */
  { key: 'requests_per_client', byDefault: 128, least: 1, most: 65_536 },
  /** Uploads of patches and disks: each has a process and some MiB. */
  { key: 'uploads_at_once', byDefault: 16, least: 1, most: 256 },
  /** From the first byte of a request to the end of its header. */
  { key: 'header_seconds', byDefault: 10, least: 1, most: 3600 },
  /** A body of which nothing came for so long, or a client that took nothing, is cut off. */
  { key: 'idle_seconds', byDefault: 60, least: 1, most: 3600 },
  /** What must come or go in that time at least, of a large body; so that nobody trickles for ever. */
  { key: 'idle_bytes', byDefault: 64 * KIB, least: 1, most: 64 * MIB },
  /** From the header of a call to the end of its body. */
  { key: 'call_seconds', byDefault: 30, least: 1, most: 3600 },
  /** A connection between two requests. */
  { key: 'keep_alive_seconds', byDefault: 15, least: 1, most: 3600 },
  /** Request line and header. */
  { key: 'header_bytes', byDefault: 16 * KIB, least: 1 * KIB, most: 256 * KIB },
  /** Body of a call (XML-RPC, JSON-RPC); uploads are bounded by their SR. */
  { key: 'body_bytes', byDefault: 1 * MIB, least: 4 * KIB, most: 16 * MIB },
] as const satisfies readonly LimitRow[];

export type LimitKey = (typeof LIMITS)[number]['key'];

type CamelCase<Text extends string> = Text extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Text;

/** `requests_at_once` is `requestsAtOnce`, and so on. */
export type Limits = { readonly [Key in LimitKey as CamelCase<Key>]: number };

/** @param given by key, checked */
export function limitsWith(given: Readonly<Partial<Record<LimitKey, number>>>): Limits {
  const camelCase = (key: string): string =>
    key.replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
  const rows = LIMITS.map(({ key, byDefault }) => [camelCase(key), given[key] ?? byDefault]);
  return Object.fromEntries(rows) as Limits;
}
