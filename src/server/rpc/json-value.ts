import { DateTime, Int32, isRpcArray, type RpcValue } from '../rpc-value.js';

/** Values within each other. */
const MAX_DEPTH = 16;

/** @returns undefined for what the XenAPI has no type for: null, numbers beyond all bounds, what is too deep */
function rpcOfJson(value: unknown, depth: number): RpcValue | undefined {
  if (depth > MAX_DEPTH) return undefined;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) {
    const members: RpcValue[] = [];
    for (const member of value as unknown[]) {
      const read = rpcOfJson(member, depth + 1);
      if (read === undefined) return undefined;
      members.push(read);
    }
    return members;
  }
  const entries: (readonly [string, RpcValue])[] = [];
  for (const [name, member] of Object.entries(value)) {
    const read = rpcOfJson(member, depth + 1);
    if (read === undefined) return undefined;
    entries.push([name, read]);
  }
  // Own properties, also one that is called __proto__.
  return Object.fromEntries(entries);
}

/** @returns undefined for what is no list of parameters */
export function readJsonParameters(value: unknown): readonly RpcValue[] | undefined {
  const read = Array.isArray(value) ? rpcOfJson(value, 0) : undefined;
  return read !== undefined && isRpcArray(read) ? read : undefined;
}

/** The JSON text of a value: integers with all their digits, times as strings. */
export function encodeJson(value: RpcValue): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object') return JSON.stringify(value);
  if (value instanceof Int32) return String(value.value);
  if (value instanceof DateTime) return JSON.stringify(value.text);
  if (isRpcArray(value)) return `[${value.map(encodeJson).join(',')}]`;
  const members = Object.entries(value).map(
    ([name, member]) => `${JSON.stringify(name)}:${encodeJson(member)}`,
  );
  return `{${members.join(',')}}`;
}
