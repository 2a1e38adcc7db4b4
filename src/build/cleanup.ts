/** What must be undone at the end of a build, however it ends; the last thing made is undone first. */
export class Cleanup {
  #steps: (() => void | Promise<void>)[] = [];
  #undoing: (() => void | Promise<void>)[] = [];

  add(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  /** For what stays when all goes well: undone only when the build fails, and after all else. */
  addForFailure(step: () => void | Promise<void>): void {
    this.#undoing.push(step);
  }

  /** The build has failed: what was made to stay goes, too. @returns the errors of the steps that failed */
  async runAfterFailure(): Promise<unknown[]> {
    this.#steps = [...this.#undoing, ...this.#steps];
    this.#undoing = [];
    return await this.run();
  }

  /** Runs every step, also after one failed. @returns the errors of those that failed */
  async run(): Promise<unknown[]> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}
