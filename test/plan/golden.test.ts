/*
 * The tables of whole plans, as people see them. The golden files say what the plans are; that such plans give right
 * images is shown elsewhere, by qemu-img and e2fsck (fixtures/plans/README.md).
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { planPatchImage } from '../../src/build/plan-image.js';
import { describePlan, planRows } from '../../src/plan/describe.js';
import { planFixedVhd, planRaw } from '../../src/plan/plan-raw.js';
import { planVhd } from '../../src/plan/plan-vhd.js';
import type { Plan } from '../../src/plan/plan.js';
import { GIB, KIB, MIB } from '../../src/units.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { handMadeFacts, identity } from './layouts.js';

const FOLDER = join(import.meta.dirname, '../../fixtures/plans');

/** The golden text; UPDATE_GOLDEN=1 writes what is missing, for a person to read before it is committed. */
function golden(name: string, found: string): string {
  const path = join(FOLDER, `${name}.txt`);
  if (!existsSync(path) && process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, `${found}\n`);
  return readFileSync(path, 'utf8').trimEnd();
}

describe('for templates written by hand', () => {
  test.each([
    ['1-kib', handMadeFacts(16 * MIB, KIB, 512)],
    ['100-mib', handMadeFacts(400 * MIB, 100 * MIB, 1024)],
    ['1-gib', handMadeFacts(4 * GIB, GIB, 4608)],
  ])('a payload of %s', (name, facts) => {
    const plans = [planRaw(facts), planFixedVhd(facts, identity), planVhd(facts, identity)];
    for (const plan of plans) {
      const found = describePlan(plan);
      expect(found).toBe(golden(`${name}-${plan.format}`, found));
    }
  });
});

/** What the golden files were made with. Others may lay out the metadata differently. */
const GOLDEN_E2FSPROGS = '1.47.0';

/** The rows that no version of mke2fs may change: where the payload stands, and what our own tables are. */
function ownRows(table: string): string[] {
  const ours = / (?:payload {2}patch|literal {2}(?:footer copy|dynamic disk header|BAT|footer))\b/;
  return table.split('\n').filter((line) => ours.test(line));
}

describe('for real templates', () => {
  const plan = (payload: number, format: Plan['format']): Promise<Plan> =>
    planPatchImage({ contentLength: payload, format, sourceDateEpoch: 1_000_000_000 });

  test.for([
    ['43-gib', 43 * GIB, 'vhd'],
    ['43-gib', 43 * GIB, 'raw'],
    ['500-gib', 500 * GIB, 'vhd'],
    ['500-gib', 500 * GIB, 'raw'],
  ] as const)('a payload of %s', async ([name, payload, format], context) => {
    requireTool(context, 'mke2fs', 'debugfs', 'e2fsck');
    const made = await plan(payload, format);
    const found = describePlan(made);
    const wanted = golden(`${name}-${format}`, found);
    const version = /mke2fs (\S+)/.exec(runJudge('mke2fs', ['-V']).stderr)?.[1];
    if (version === GOLDEN_E2FSPROGS) expect(found).toBe(wanted);
    expect(ownRows(found).length).toBeGreaterThan(0);
    if (format === 'raw') expect(ownRows(found)).toEqual(ownRows(wanted));

    // Whatever the version: one run of payload, and extent tree blocks behind it in the image.
    const payloadRows = planRows(made).filter(({ kind }) => kind === 'payload');
    expect(payloadRows).toHaveLength(1);
    expect(payloadRows.map(({ length, count }) => length * count)).toEqual([payload]);
    const isTree = (line: string): boolean => line.includes('extent tree of patch');
    expect(found.split('\n').filter(isTree).length).toBeGreaterThanOrEqual(2);
  });
});

test('the table is at most 80 columns wide for every image up to 16 TiB', () => {
  const widest = handMadeFacts(16 * 1024 * GIB, 4 * 1024 * GIB, 4608);
  for (const line of describePlan(planRaw(widest)).split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});
