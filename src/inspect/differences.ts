/** One thing that two images do not have in common. */
export interface Difference {
  /**
   * `content`: what a host would see in the mounted file system. `identity`: who made it and when: UUIDs, times,
   * labels. `layout`: how it is laid out. `container`: what is around the disk, which no host sees.
   */
  readonly class: 'content' | 'layout' | 'identity' | 'container';
  /** `/patch, byte 4096`, `UUID`. */
  readonly what: string;
  readonly a: string;
  readonly b: string;
}

const MAX_DIFFERENCES = 200;

/** Collects differences up to a bound, and knows whether one of them counts. */
export class Differences {
  readonly list: Difference[] = [];
  omitted = 0;
  anyCounts = false;
  readonly #contentOnly: boolean;

  constructor(contentOnly: boolean) {
    this.#contentOnly = contentOnly;
  }

  add(difference: Difference): void {
    const kind = difference.class;
    if (kind === 'content' || (kind !== 'container' && !this.#contentOnly)) this.anyCounts = true;
    if (this.list.length < MAX_DIFFERENCES) this.list.push(difference);
    else this.omitted += 1;
  }

  /** Adds one if the two values are not the same. */
  check(kind: Difference['class'], what: string, a: unknown, b: unknown): void {
    const [one, other] = [textOf(a), textOf(b)];
    if (one !== other) this.add({ class: kind, what, a: one, b: other });
  }
}

function textOf(value: unknown): string {
  if (value === undefined || value === '') return 'none';
  return typeof value === 'string' ? value : String(value as number | boolean);
}
