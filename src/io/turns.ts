/** Lets one task run at a time, in the order in which they came. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** What the task gives; whatever the tasks before it gave. */
  take<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** When all tasks that are there have ended. */
  async over(): Promise<void> {
    await this.#last;
  }
}
