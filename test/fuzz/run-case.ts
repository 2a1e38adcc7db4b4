import { MIB } from '../../src/units.js';
import type { AllocationWatch } from './allocations.js';
import type { Base } from './base.js';
import { judgeContent } from './judge.js';
import { lookAt, type Outcome } from './look.js';
import { mutate, type Mutation } from './mutate.js';
import { Random } from './random.js';
import type { SparseBytes } from './sparse-bytes.js';
import { SECTOR_BITMAP } from './vhd-targets.js';
import { MAX_READ_BYTES, WatchedReader, type ReadBudget } from './watched-reader.js';

/** Of the cases without a complaint, so many are judged although nothing is suspicious. */
const SAMPLE_CHANCE = 1 / 40;
/** And so many where the damage hit what says where the content is: that it changes nothing may be the defect. */
const FOCUS_CHANCE = 1 / 4;
const FOCUS: ReadonlySet<string> = new Set(['map', 'inode of patch', 'inline data', SECTOR_BITMAP, 'BAT']);
/** Every eighth case is compared with itself. */
const COMPARE_CHANCE = 1 / 8;
const SECTOR_BYTES = 512;

/**
 * What looking at an image in every way may cost: linear in the size of the image, whatever stands in it. Each of the
 * steps (report, map, listing, check of the blocks, content, disk, comparison with both sides) reads the whole image at
 * most once or twice, in pieces of at least a sector or an inode; the constant is for the smallest images.
 */
function budgetFor(imageBytes: number): ReadBudget {
  return { calls: 5000 + (3 * imageBytes) / SECTOR_BYTES, bytes: 4 * MIB + 6 * imageBytes };
}

export interface CaseResult {
  readonly title: string;
  readonly words: readonly string[];
  readonly outcome: Outcome;
  /** Defects; empty is good. */
  readonly faults: readonly string[];
  /** Whether a judge was asked, and what he said. */
  readonly judged: 'no need' | 'agrees' | 'says nothing' | 'disagrees';
  /** Of a judge who would not read. */
  readonly judgeWords: string;
  /** Parts of the budget that were used. */
  readonly used: { readonly calls: number; readonly bytes: number };
}

/** Contents of the good images, by base: what differs from them is suspicious. */
export class Contents {
  readonly #contents = new Map<Base, Uint8Array | undefined>();

  async of(base: Base): Promise<Uint8Array | undefined> {
    if (!this.#contents.has(base)) {
      const { content } = await look(base, base.image, false);
      this.#contents.set(base, content);
    }
    return this.#contents.get(base);
  }
}

function unlimited(image: SparseBytes): WatchedReader {
  return new WatchedReader(image, { calls: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER });
}

async function look(
  base: Base,
  image: SparseBytes,
  compare: boolean,
  reader = unlimited(image),
): Promise<Outcome> {
  return await lookAt(reader, {
    format: undefined,
    offsetBytes: base.offsetBytes < image.sizeBytes ? base.offsetBytes : 0,
    compare,
    parent: base.parent === undefined ? undefined : unlimited(base.parent),
  });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

interface Judgement {
  readonly judged: CaseResult['judged'];
  readonly words: string;
}

/** Whether content that is not that of the good image, and without an error, is what others read. */
function judge(base: Base, mutation: Mutation, content: Uint8Array, folder: string): Judgement {
  const bitmapsMatter = mutation.touched.some(({ kind }) => kind === SECTOR_BITMAP || kind === 'BAT');
  const { format, offsetBytes } = base;
  const verdict = judgeContent(
    mutation.image,
    { format, offsetBytes, bitmapsMatter },
    content.length,
    folder,
  );
  if ('words' in verdict) return { judged: 'says nothing', words: verdict.words };
  return { judged: sameBytes(verdict.bytes, content) ? 'agrees' : 'disagrees', words: '' };
}

export interface CaseTools {
  readonly bases: readonly Base[];
  readonly contents: Contents;
  readonly allocations: AllocationWatch;
  /** For images that are judged. */
  readonly folder: string;
}

export interface CaseWishes {
  /** Compares the image with itself. */
  readonly compare: boolean;
  /** Asks the judge also when nothing is suspicious. */
  readonly sample: boolean;
}

/** One case: the same seed and number do the same, on the same bases. */
export async function runCase(seed: number, number: number, tools: CaseTools): Promise<CaseResult> {
  const random = Random.ofCase(seed, number);
  const base = random.pick(tools.bases);
  const compare = random.chance(COMPARE_CHANCE);
  const mutation = mutate(random, base);
  const isFocus = mutation.touched.some(({ kind }) => FOCUS.has(kind));
  const wishes = { compare, sample: random.chance(isFocus ? FOCUS_CHANCE : SAMPLE_CHANCE) };
  return await judgeCase(`case ${seed}:${number} (${base.name})`, base, mutation, wishes, tools);
}

/** Looks at a damaged image, and says what is wrong with what came of it. */
export async function judgeCase(
  title: string,
  base: Base,
  mutation: Mutation,
  { compare, sample }: CaseWishes,
  tools: CaseTools,
): Promise<CaseResult> {
  const { image } = mutation;
  const good = await tools.contents.of(base);
  const budget = budgetFor(image.sizeBytes);
  const reader = new WatchedReader(image, budget);
  tools.allocations.largest();
  const outcome = await look(base, image, compare, reader);
  const largest = tools.allocations.largest();
  const faults = [...outcome.faults, ...reader.faults];
  if (largest > MAX_READ_BYTES) faults.push(`a buffer of ${largest} bytes`);
  const { content } = outcome;
  const healthy =
    !outcome.findings.some(({ severity }) => severity === 'error') && outcome.errors.length === 0;
  const odd = content !== undefined && (good === undefined || !sameBytes(content, good));
  const judgement =
    healthy && content !== undefined && (odd || sample)
      ? judge(base, mutation, content, tools.folder)
      : { judged: 'no need' as const, words: '' };
  if (judgement.judged === 'disagrees') faults.push('other bytes than debugfs reads, and nothing says why');
  return {
    title,
    words: mutation.words,
    outcome,
    faults,
    judged: judgement.judged,
    judgeWords: judgement.words,
    used: { calls: reader.calls / budget.calls, bytes: reader.bytes / budget.bytes },
  };
}
