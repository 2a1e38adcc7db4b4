import { spawnSync } from 'node:child_process';

function run(program: string, ...args: string[]): void {
  const ended = spawnSync(program, args);
  if (ended.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${String(ended.stderr)}`);
}

/** A tmpfs of its own size on a folder; needs root. */
export class SmallDisk {
  readonly #folder: string;
  #open = true;

  /** @param inodes how many files and folders it may hold, its root counts too; 0: any number */
  constructor(folder: string, bytes: number, inodes = 0) {
    this.#folder = folder;
    run('mount', '-t', 'tmpfs', '-o', `size=${bytes},nr_inodes=${inodes}`, 'tmpfs', folder);
  }

  close(): void {
    if (this.#open) run('umount', this.#folder);
    this.#open = false;
  }
}
