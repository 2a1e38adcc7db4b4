/** What a patch can ask for after it was applied, for people. */
const GUIDANCE_TEXTS: Readonly<Record<string, string>> = {
  restartHVM: 'restart the HVM virtual machines',
  restartPV: 'restart the PV virtual machines',
  restartHost: 'restart the host',
  restartXAPI: 'restart the toolstack (XAPI)',
};

/** One line for each; `nothing more` when there is none. */
export function guidanceLines(guidance: readonly string[]): string {
  if (guidance.length === 0) return 'nothing more';
  return guidance.map((word) => GUIDANCE_TEXTS[word] ?? word).join('\n');
}
