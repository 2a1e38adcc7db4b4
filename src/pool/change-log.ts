import type { AnyRecord, ClassName } from './classes.js';
import type { Ref } from './fields.js';

/** What became of a record, for clients that follow the pool (`event.from`). */
export interface RecordChange {
  readonly className: ClassName;
  readonly ref: Ref;
  readonly operation: 'add' | 'mod' | 'del';
  /** Counts every change of the pool. */
  readonly generation: number;
  /** As `get_record` gives it; undefined for `del`. */
  readonly record: AnyRecord | undefined;
}

interface LoggedChange {
  readonly className: ClassName;
  readonly ref: Ref;
  readonly generation: number;
  /** When the record appeared; undefined: before this log begins. */
  readonly addedAt: number | undefined;
  readonly gone: boolean;
}

const MAX_ENTRIES = 10_000;

/** The last change of each record, the oldest ones forgotten: memory is bounded however busy a task is. */
export class ChangeLog {
  readonly #changes = new Map<string, LoggedChange>();
  readonly #maxEntries: number;
  /** Changes up to this generation may be missing. */
  #forgotten: number;

  /** @param generation of the pool now */
  constructor(generation: number, maxEntries = MAX_ENTRIES) {
    this.#forgotten = generation;
    this.#maxEntries = maxEntries;
  }

  add(className: ClassName, ref: Ref, operation: RecordChange['operation'], generation: number): void {
    const key = `${className} ${ref}`;
    const before = this.#changes.get(key);
    const addedAt = operation === 'add' ? generation : before?.addedAt;
    // Deleted first, so that the map stays in the order of the changes.
    this.#changes.delete(key);
    this.#changes.set(key, { className, ref, generation, addedAt, gone: operation === 'del' });
    if (this.#changes.size <= this.#maxEntries) return;
    for (const [oldest, change] of this.#changes) {
      this.#changes.delete(oldest);
      this.#forgotten = change.generation;
      break;
    }
  }

  /**
   * What happened after a generation: of each record only what it came to.
   *
   * @returns undefined when that is too long ago: then everything must be asked for again
   */
  since(generation: number): Omit<RecordChange, 'record'>[] | undefined {
    if (generation < this.#forgotten) return undefined;
    return [...this.#changes.values()]
      .filter((change) => change.generation > generation)
      .flatMap(({ className, ref, generation: at, addedAt, gone }) => {
        const isNew = addedAt !== undefined && addedAt > generation;
        // Came and went while nobody looked.
        if (gone && isNew) return [];
        return [{ className, ref, generation: at, operation: gone ? 'del' : isNew ? 'add' : 'mod' } as const];
      });
  }
}
