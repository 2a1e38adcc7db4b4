import { PoolError } from '../../pool/pool-error.js';
import { isRpcArray, isRpcStruct, type RpcStruct, type RpcValue } from '../rpc-value.js';

/** A parameter of a method: its name in the XenAPI, and how it is read. */
export interface Parameter<Value> {
  readonly name: string;
  /** @returns undefined for a value of another type */
  readonly read: (value: RpcValue) => Value | undefined;
  /** When the client leaves it out; only the last ones can be. */
  readonly fallback?: { readonly value: Value };
}

/** What lands in records is bounded: names, keys, values. */
const MAX_TEXT_CHARACTERS = 64 * 1024;

/** What a map that is stored may hold. */
const MAX_MAP_ENTRIES = 1000;

function readText(value: RpcValue): string | undefined {
  return typeof value === 'string' && value.length <= MAX_TEXT_CHARACTERS ? value : undefined;
}

/** The XenAPI's integers travel as strings; JSON has numbers, too. */
function readInteger(value: RpcValue): number | undefined {
  const isText = typeof value === 'string' && /^-?\d{1,16}$/.test(value);
  const number =
    typeof value === 'number' || typeof value === 'bigint' || isText ? Number(value) : Number.NaN;
  return Number.isSafeInteger(number) ? number : undefined;
}

function readFloat(value: RpcValue): number | undefined {
  const isText = typeof value === 'string' && /^-?\d{1,16}(?:\.\d{1,16})?$/.test(value);
  const number =
    typeof value === 'number' || typeof value === 'bigint' || isText ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : undefined;
}

function readTexts(value: RpcValue): readonly string[] | undefined {
  if (!isRpcArray(value) || value.length > MAX_MAP_ENTRIES) return undefined;
  const texts = value.map(readText).filter((member) => member !== undefined);
  return texts.length === value.length ? texts : undefined;
}

function readMap(value: RpcValue): Readonly<Record<string, string>> | undefined {
  if (!isRpcStruct(value)) return undefined;
  const entries = Object.entries(value);
  if (entries.length > MAX_MAP_ENTRIES) return undefined;
  const texts = entries.flatMap(([key, member]) => {
    const text = readText(member);
    return text === undefined || key.length > MAX_TEXT_CHARACTERS ? [] : [[key, text] as const];
  });
  return texts.length === entries.length ? Object.fromEntries(texts) : undefined;
}

export const text = (name: string, maxCharacters = MAX_TEXT_CHARACTERS): Parameter<string> => ({
  name,
  read: (value) => (typeof value === 'string' && value.length <= maxCharacters ? value : undefined),
});
export const integer = (name: string): Parameter<number> => ({ name, read: readInteger });
export const float = (name: string): Parameter<number> => ({ name, read: readFloat });
export const texts = (name: string): Parameter<readonly string[]> => ({ name, read: readTexts });
export const textMap = (name: string): Parameter<Readonly<Record<string, string>>> => ({
  name,
  read: readMap,
});
export const bool = (name: string): Parameter<boolean> => ({
  name,
  read: (value) => (typeof value === 'boolean' ? value : undefined),
});
export const struct = (name: string): Parameter<RpcStruct> => ({
  name,
  read: (value) => (isRpcStruct(value) ? value : undefined),
});

export const optional = <Value>(parameter: Parameter<Value>, value: Value): Parameter<Value> => ({
  ...parameter,
  fallback: { value },
});

/** @throws PoolError FIELD_TYPE_ERROR, which does not say what the value is: it may be a secret */
export function readValue<Value>({ name, read }: Parameter<Value>, value: RpcValue): Value {
  const result = read(value);
  if (result === undefined) throw new PoolError('FIELD_TYPE_ERROR', [name]);
  return result;
}

/** A member of a record that a client gave, or what is taken when it is not there. @throws PoolError FIELD_TYPE_ERROR */
export function readMember<Value>(record: RpcStruct, parameter: Parameter<Value>): Value {
  const { name, fallback } = parameter;
  const value = Object.hasOwn(record, name) ? record[name] : undefined;
  if (value !== undefined) return readValue(parameter, value);
  if (fallback === undefined) throw new PoolError('FIELD_TYPE_ERROR', [name]);
  return fallback.value;
}
