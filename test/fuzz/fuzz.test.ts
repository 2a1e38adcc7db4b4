import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { watchAllocations, type AllocationWatch } from './allocations.js';
import type { Base } from './base.js';
import { loadBases } from './bases.js';
import { Contents, judgeCase, runCase, type CaseResult } from './run-case.js';
import { startWatchdog, type Watchdog } from './watchdog.js';

/*
 * Images of every kind are damaged where their structures are, mostly behind checksums that were put right again. What
 * comes of reading them is a report or an error of kind `image`, within bounds of reads and memory; and bytes that are
 * read without a complaint are those that debugfs reads. More cases: npm run test:fuzz -- 200000 SEED; one alone:
 * npm run test:fuzz -- --case SEED:NUMBER.
 */

const CASES = Number(process.env['PATCH_VDI_FUZZ'] ?? 4000);
const [SEED = 0, ONLY] = (
  process.env['PATCH_VDI_FUZZ_CASE'] ??
  process.env['PATCH_VDI_SEED'] ??
  // The same cases in every run of the tests: who looks for new ones gives a seed.
  '1'
)
  .split(':')
  .map(Number);
const SLICE = 2000;
/** A case takes milliseconds; this is for a machine that is busy. */
const CASE_LIMIT_MILLISECONDS = 20_000;
/** More than this many bytes that stay in memory are a leak. */
const MAX_GROWTH_BYTES = 400 * MIB;
const MAX_SHOWN = 20;

let folder: string;
let bases: Base[];
let allocations: AllocationWatch;
let watchdog: Watchdog;
const contents = new Contents();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pv-fuzz-'));
  bases = await loadBases(folder);
  allocations = watchAllocations();
  watchdog = startWatchdog(ONLY === undefined ? CASE_LIMIT_MILLISECONDS : 600_000);
});
afterAll(async () => {
  allocations.stop();
  await watchdog.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => requireTool(context, 'mke2fs', 'debugfs', 'qemu-img'));

function describeFault({ title, words, faults, outcome, judgeWords }: CaseResult): string {
  const codes = [...new Set(outcome.findings.map(({ code }) => code))].join(' ');
  return `${[title, ...words, `errors: ${outcome.errors.join('; ')}`, `findings: ${codes}`, judgeWords].join('\n  ')}\n  FAULTS: ${faults.slice(0, 3).join('\n  ')}`;
}

/** Counts of a slice, to see that the cases get somewhere. */
class Tally {
  readonly counts = new Map<string, number>();
  readonly faults: string[] = [];
  mostCalls = 0;
  mostBytes = 0;

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  add(result: CaseResult): void {
    const { outcome, judged, used, faults, judgeWords, title } = result;
    if (process.env['PATCH_VDI_FUZZ_VERBOSE'] !== undefined) {
      if (judgeWords !== '' && judged === 'says nothing') console.log(title, judgeWords, result.words);
      for (const error of outcome.errors) this.count(error.replaceAll(/\d+/g, 'N'));
    }
    this.count(`judge ${judged}`);
    this.count(outcome.errors.some((error) => error.startsWith('open:')) ? 'not opened' : 'opened');
    this.count(
      outcome.findings.some(({ severity }) => severity === 'error') ? 'damage found' : 'no damage found',
    );
    this.count(outcome.content === undefined ? 'no content' : 'content');
    this.mostCalls = Math.max(this.mostCalls, used.calls);
    this.mostBytes = Math.max(this.mostBytes, used.bytes);
    if (faults.length === 0) return;
    this.faults.push(describeFault(result));
    console.error(describeFault(result));
  }
}

async function runCases(first: number, count: number): Promise<Tally> {
  const tally = new Tally();
  for (let number = first; number < first + count; number += 1) {
    watchdog.start(`case ${SEED}:${number}`);
    tally.add(await runCase(SEED, number, { bases, contents, allocations, folder }));
  }
  watchdog.start('between two slices');
  return tally;
}

test.runIf(ONLY === undefined)(
  'the good images are read as others read them, within the bounds',
  async () => {
    for (const base of bases) {
      const mutation = {
        image: base.image.overlay(),
        words: [],
        touched: [],
        fixed: false,
        truncated: false,
      };
      const tools = { bases, contents, allocations, folder };
      watchdog.start(base.name);
      const { faults, judged, outcome } = await judgeCase(
        base.name,
        base,
        mutation,
        { compare: true, sample: true },
        tools,
      );
      expect(faults, base.name).toEqual([]);
      expect(judged, base.name).toBe(outcome.content === undefined ? 'no need' : 'agrees');
    }
    watchdog.start('between two slices');
  },
);

const slices = Array.from({ length: Math.ceil(CASES / SLICE) }, (_, index) => index * SLICE);

describe.runIf(ONLY === undefined)(`seed ${SEED}`, () => {
  test.for(slices)('cases from %i on', { timeout: 600_000 }, async (first) => {
    const before = process.memoryUsage().rss;
    const started = Date.now();
    const tally = await runCases(first, Math.min(SLICE, CASES - first));
    const seconds = (Date.now() - started) / 1000;
    const { counts, mostCalls, mostBytes, faults } = tally;
    const percent = (part: number): string => `${Math.round(part * 100)} %`;
    const words = [...counts]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, count]) => `${what} ${count}`);
    console.log(
      `seed ${SEED}, from ${first}: ${seconds} s; ${words.join(', ')}; reads ${percent(mostCalls)}, bytes ${percent(mostBytes)} of the bound`,
    );
    expect(
      faults.slice(0, MAX_SHOWN).join('\n\n'),
      `${faults.length} cases; replay one: npm run test:fuzz -- --case SEED:NUMBER`,
    ).toBe('');
    expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
    // The premise: the damage is neither fatal always nor harmless always.
    for (const what of [
      'opened',
      'not opened',
      'damage found',
      'no damage found',
      'content',
      'judge agrees',
    ]) {
      expect(counts.get(what) ?? 0, what).toBeGreaterThan(0);
    }
  });
});

if (ONLY !== undefined) {
  test(`case ${SEED}:${ONLY}`, { timeout: 60_000 }, async () => {
    const result = await runCase(SEED, ONLY, { bases, contents, allocations, folder });
    console.log(describeFault(result), result.outcome.findings, result.judged);
    expect(result.faults).toEqual([]);
  });
}
