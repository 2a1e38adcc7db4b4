import type { Finding, ReportFinding } from '../findings.js';

/** A damaged disk can have a million damaged groups; nobody reads a million findings. */
const MAX_FINDINGS_OF_A_CODE = 20;

/** Passes the first findings of each code on, and counts the others. */
export class FindingCap {
  readonly #report: ReportFinding;
  readonly #counts = new Map<string, { count: number; last: Finding }>();

  constructor(report: ReportFinding) {
    this.#report = report;
  }

  report(finding: Finding): void {
    const count = (this.#counts.get(finding.code)?.count ?? 0) + 1;
    this.#counts.set(finding.code, { count, last: finding });
    if (count <= MAX_FINDINGS_OF_A_CODE) this.#report(finding);
  }

  /** Reports how many were left out, one finding a code. */
  finish(): void {
    for (const { count, last } of this.#counts.values()) {
      const left = count - MAX_FINDINGS_OF_A_CODE;
      if (left <= 0) continue;
      const structure = left === 1 ? last.structure : `${left} more, up to ${last.structure}`;
      this.#report({ ...last, structure });
    }
  }
}
