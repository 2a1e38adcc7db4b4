/** Longer words are names of files or nonsense, and comparing them costs time. */
const MAX_CHARACTERS = 64;
/** A slip changes a letter or two; what needs more is another word. */
const MAX_SLIPS = 2;

const plain = (name: string): string => name.toLowerCase().replaceAll('-', '_');

/** Letters that are left out, put in, changed, or swapped with their neighbour (optimal string alignment). */
function slips(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1];
      const costs = [
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      ];
      const swapped = row > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (swapped && column > 1) costs.push((beforeLast[column - 2] ?? 0) + 1);
      current.push(Math.min(...costs));
    }
    [beforeLast, last] = [last, current];
  }
  return last[to.length] ?? 0;
}

/**
 * The name that somebody has mistyped, or undefined when none is near: at most two slips away, and no more than a third
 * of the word; or the only one that begins like that, from three characters on. Case does not count, nor whether words
 * are joined by `-` or `_`.
 */
export function similarName(wanted: string, names: readonly string[]): string | undefined {
  if (wanted === '' || wanted.length > MAX_CHARACTERS) return undefined;
  const word = plain(wanted);
  let best: { name: string; distance: number } | undefined;
  for (const name of names) {
    if (name === '' || name.length > MAX_CHARACTERS) continue;
    const distance = slips(word, plain(name));
    const isNear = distance <= MAX_SLIPS && distance * 3 <= Math.max(word.length, name.length);
    if (isNear && (best === undefined || distance < best.distance)) best = { name, distance };
  }
  if (best !== undefined) return best.name;
  const [only, ...others] = names.filter((name) => plain(name).startsWith(word));
  return word.length >= 3 && others.length === 0 ? only : undefined;
}
