/** How many letters must be changed, put in or left out (Levenshtein). Both are short. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The known name that somebody may have meant, undefined when none is like it. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const short = name.slice(0, 64).toLowerCase().replaceAll('-', '_');
  const ranked = known
    .map((candidate) => ({ candidate, steps: distance(short, candidate.toLowerCase()) }))
    .toSorted((a, b) => a.steps - b.steps);
  const best = ranked[0];
  return best !== undefined && best.steps <= Math.max(1, best.candidate.length / 2)
    ? best.candidate
    : undefined;
}
