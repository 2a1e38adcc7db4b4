import { runJudge, verdictAgainst } from './run-judge.js';

/** The superblock as `dumpe2fs -h` prints it: its words for the fields, its words for the values. */
export function superblockFields(imagePath: string): ReadonlyMap<string, string> {
  const result = runJudge('dumpe2fs', ['-h', imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  const fields = new Map<string, string>();
  for (const line of result.stdout.split('\n')) {
    const match = /^([^:]+): *(.*)$/.exec(line);
    if (match !== null) fields.set(match[1] ?? '', match[2] ?? '');
  }
  return fields;
}

/** One field, which must be there. */
export function superblockField(imagePath: string, name: string): string {
  const value = superblockFields(imagePath).get(name);
  if (value === undefined) throw new Error(`dumpe2fs has no field "${name}" for ${imagePath}`);
  return value;
}
