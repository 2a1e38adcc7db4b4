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

/** Where the backups of the superblock are, in blocks of the file system. */
export function backupsOf(imagePath: string): {
  readonly blockBytes: number;
  readonly blocks: readonly number[];
} {
  const result = runJudge('dumpe2fs', [imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  const blocks = [...result.stdout.matchAll(/Backup superblock at (\d+)/g)].map((match) => Number(match[1]));
  return { blockBytes: Number(superblockField(imagePath, 'Block size')), blocks };
}

/** The free blocks of a file system, as ranges of its blocks, both ends included. */
export function freeBlocksOf(imagePath: string): readonly (readonly [first: number, last: number])[] {
  const result = runJudge('dumpe2fs', [imagePath]);
  if (result.exitCode !== 0) throw verdictAgainst('dumpe2fs', imagePath, result);
  return [...result.stdout.matchAll(/^ {2}Free blocks: (.*)$/gm)].flatMap((match) =>
    (match[1] ?? '')
      .split(', ')
      .filter((range) => range !== '')
      .map((range) => {
        const [first = 0, last = first] = range.split('-').map(Number);
        return [first, last] as const;
      }),
  );
}
