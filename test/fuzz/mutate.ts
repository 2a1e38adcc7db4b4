import { SECTOR_BYTES } from '../../src/units.js';
import type { Base } from './base.js';
import type { Random } from './random.js';
import type { SparseBytes } from './sparse-bytes.js';
import { readField, writeField, type Field, type Target } from './target.js';

/** Numbers at which arithmetic goes wrong. */
const INTERESTING = [
  0n,
  1n,
  2n,
  3n,
  5n,
  7n,
  8n,
  9n,
  11n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0x8001n,
  0xffffn,
  0x10000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fffen,
  0xffff_ffffn,
  0x1_0000_0000n,
  2n ** 42n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
/** `i_flags` and feature words are sets of bits. */
const FLAG_BITS = 32;
const LONGEST_RUN_BYTES = 64;

/** What was done to an image: kept with the case, so that a failure says it. */
export interface Mutation {
  readonly image: SparseBytes;
  readonly words: readonly string[];
  readonly touched: readonly Target[];
  readonly fixed: boolean;
  readonly truncated: boolean;
}

function newValue(random: Random, base: Base, target: Target, field: Field): bigint {
  const old = readField(target.io, field);
  switch (random.below(9)) {
    case 0:
      return random.pick(INTERESTING);
    case 1:
      return old + random.pick([-1n, 1n, 2n, -2n, 8n, -8n, old, old * 2n]);
    case 2:
      return old ^ (1n << BigInt(random.below(field.bytes * 8)));
    case 3:
      return BigInt(random.pick(base.numbers)) + random.pick([0n, 0n, 1n, -1n]);
    case 4: {
      const other = random.pick(base.targets).offset;
      return BigInt(Math.floor(other / random.pick([1, SECTOR_BYTES, base.blockBytes])));
    }
    case 5:
      return BigInt(Math.floor(target.offset / random.pick([1, SECTOR_BYTES, base.blockBytes])));
    case 6:
      return readField(target.io, random.pick(target.fields));
    case 7:
      return old ^ (1n << BigInt(random.below(Math.min(FLAG_BITS, field.bytes * 8))));
    default:
      return BigInt(Math.floor(random.next() * 2 ** 32)) * (random.chance(0.5) ? 1n : 2n ** 21n);
  }
}

type Operator = (random: Random, base: Base, target: Target) => string;

const setField: Operator = (random, base, target) => {
  if (target.fields.length === 0) return setByte(random, base, target);
  const field = random.pick(target.fields);
  const value = newValue(random, base, target, field);
  const old = readField(target.io, field);
  writeField(target.io, field, value);
  return `${field.bytes} bytes at +${field.offset - target.offset} from ${old} to ${readField(target.io, field)}`;
};

const swapFields: Operator = (random, base, target) => {
  if (target.fields.length < 2) return setByte(random, base, target);
  const one = random.pick(target.fields);
  const same = target.fields.filter(({ bytes }) => bytes === one.bytes);
  const other = random.pick(same);
  const [a, b] = [readField(target.io, one), readField(target.io, other)];
  writeField(target.io, one, b);
  writeField(target.io, other, a);
  return `+${one.offset - target.offset} and +${other.offset - target.offset} swapped`;
};

const setByte: Operator = (random, _base, target) => {
  const at = target.offset + random.below(target.length);
  const value = random.chance(0.5) ? random.pick([0, 1, 0x7f, 0x80, 0xff]) : random.below(256);
  target.io.write(at, Uint8Array.of(value));
  return `byte +${at - target.offset} to ${value}`;
};

const flipBit: Operator = (random, _base, target) => {
  const at = target.offset + random.below(target.length);
  const [byte = 0] = target.io.read(at, 1);
  target.io.write(at, Uint8Array.of(byte ^ (1 << random.below(8))));
  return `a bit of +${at - target.offset}`;
};

const fill: Operator = (random, _base, target) => {
  const from = random.chance(0.3) ? 0 : random.below(target.length);
  const most = random.chance(0.3) ? target.length : LONGEST_RUN_BYTES;
  const length = Math.min(target.length - from, 1 + random.below(most));
  const kind = random.below(3);
  const bytes = kind === 0 ? random.bytes(length) : new Uint8Array(length).fill(kind === 1 ? 0 : 0xff);
  target.io.write(target.offset + from, bytes);
  return `${length} bytes from +${from} with ${['garbage', 'zeros', 'ones'][kind]}`;
};

const copyOver: Operator = (random, base, target) => {
  const source = random.pick(base.targets);
  const length = Math.min(source.length, target.length);
  target.io.write(target.offset, source.io.read(source.offset, length));
  return `${length} bytes of the ${source.kind} at ${source.offset}`;
};

/** How often which: fields lead furthest. */
const OPERATORS: readonly Operator[] = [
  setField,
  setField,
  setField,
  setField,
  setField,
  setField,
  swapFields,
  setByte,
  flipBit,
  fill,
  copyOver,
];

function pickTarget(random: Random, base: Base): Target {
  const kind = random.pick(base.kinds);
  return random.pick(base.targets.filter((target) => target.kind === kind));
}

const TRUNCATE_CHANCE = 0.03;

/** Damages an overlay of a base; the same random numbers do the same damage. */
export function mutate(random: Random, base: Base): Mutation {
  const image = base.image.overlay();
  base.bytes.current = image;
  const words: string[] = [];
  const touched: Target[] = [];
  const count = random.chance(0.5) ? 1 : 1 + random.below(5);
  for (let index = 0; index < count; index += 1) {
    const again = touched.at(-1);
    const target = again !== undefined && random.chance(0.4) ? again : pickTarget(random, base);
    words.push(`${target.kind} at ${target.offset}: ${random.pick(OPERATORS)(random, base, target)}`);
    touched.push(target);
  }
  const fixed = random.chance(0.5);
  if (fixed) for (const target of new Set(touched)) target.fix?.();
  const truncated = random.chance(TRUNCATE_CHANCE);
  if (truncated) {
    const near = random.pick(base.targets);
    const at = near.offset + random.pick([0, 1, Math.floor(near.length / 2), near.length - 1, near.length]);
    image.sizeBytes = Math.max(1, Math.min(image.sizeBytes, at));
    words.push(`cut off at ${image.sizeBytes}`);
  }
  if (fixed) words.push('checksums put right');
  return { image, words, touched, fixed, truncated };
}
