import type { FindingCode } from '../finding-codes.js';
import type { Finding } from '../findings.js';

/** A damaged table has as many faults as rows: after so many of one kind the rest is only counted. */
const MAX_FINDINGS_PER_CODE = 20;

/** Findings in the order in which they were made, each once, and not without end. */
export class FindingList {
  readonly #findings: Finding[] = [];
  readonly #seen = new Set<string>();
  readonly #counts = new Map<string, number>();

  add(finding: Finding): void {
    const { code, space, structure, offset } = finding;
    const count = this.#counts.get(code) ?? 0;
    const key = `${code} ${space} ${offset} ${structure}`;
    if (this.#seen.has(key)) return;
    this.#counts.set(code, count + 1);
    if (count >= MAX_FINDINGS_PER_CODE) return;
    this.#seen.add(key);
    this.#findings.push(finding);
  }

  get all(): readonly Finding[] {
    return this.#findings;
  }

  /** How many of a code were left out because there were too many. */
  omitted(code: FindingCode): number {
    return Math.max(0, (this.#counts.get(code) ?? 0) - MAX_FINDINGS_PER_CODE);
  }
}
