import type { Plan } from './plan.js';
import type { PlanEntry, SegmentContent } from './segment-list.js';

/** One line of the table: a segment, or many alike in a row. */
export interface PlanRow {
  /** Offset of the first in the output, in bytes. */
  readonly offset: number;
  /** Bytes of one. */
  readonly length: number;
  readonly count: number;
  readonly kind: SegmentContent['kind'];
  readonly name: string;
  /** Whether it waits for the verdict. */
  readonly sealed: boolean;
}

/** The rows of a plan, in the order of the output. */
export function planRows(plan: Plan): PlanRow[] {
  return plan.entries.flatMap((entry) => entryRows(entry));
}

function entryRows(entry: PlanEntry): PlanRow[] {
  let offset = entry.offset;
  return entry.parts.map((part) => {
    const row: PlanRow = {
      offset,
      length: part.length,
      count: entry.count,
      kind: part.content.kind,
      name: part.name,
      sealed: entry.turn === 'seal',
    };
    offset += part.length;
    return row;
  });
}

/** Bytes of the output by kind of content. */
export function planTotals(plan: Plan): Readonly<Record<SegmentContent['kind'], number>> {
  const totals = { literal: 0, template: 0, payload: 0, zeros: 0 };
  for (const row of planRows(plan)) totals[row.kind] += row.length * row.count;
  return totals;
}

/**
 * The plan as a table for people, at most 80 columns wide: totals by kind, then one line a segment. The same text
 * for `patch-vdi plan` and for the trace.
 */
export function describePlan(plan: Plan): string {
  const totals = planTotals(plan);
  const head = [
    `${plan.format}, ${plan.outputLength} bytes, for a disk of ${plan.virtualSize} bytes`,
    `payload ${totals.payload}, template ${totals.template}, literal ${totals.literal}, zeros ${totals.zeros}`,
    '',
    `${'offset'.padStart(14)} ${'length'.padStart(14)} ${'times'.padStart(7)}  ${'kind'.padEnd(8)} segment`,
  ];
  const lines = planRows(plan).map((row) => {
    const times = row.count === 1 ? '' : `x ${row.count}`;
    const seal = row.sealed ? '  [seal]' : '';
    return `${String(row.offset).padStart(14)} ${String(row.length).padStart(14)} ${times.padStart(7)}  ${row.kind.padEnd(8)} ${row.name}${seal}`;
  });
  return [...head, ...lines].join('\n');
}
