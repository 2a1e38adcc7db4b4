import { geteuid } from 'node:process';
import type { TestContext } from 'vitest';
import { DEFAULT_SEARCH_PATH, findProgram } from '../../src/tools/find.js';

/** What these helpers need of a test's context; also a `beforeEach` hook gets one. */
export type Skippable = Pick<TestContext, 'skip'>;

/** True where a missing judge is a failure: a build machine has to have them all. */
function judgesAreObligatory(): boolean {
  const { CI } = process.env;
  return CI !== undefined && CI !== '' && CI !== 'false' && CI !== '0';
}

/**
 * A test without its judge proves nothing: it fails where judges are obligatory, and elsewhere it is skipped with
 * a reason that the report shows.
 */
export function unavailable(context: Skippable, reason: string): never {
  if (judgesAreObligatory()) throw new Error(`${reason}, and with CI=true nothing may be skipped`);
  console.warn(`SKIPPED: ${reason}`);
  return context.skip(reason);
}

/** Call it first in a test or in `beforeEach`, with every program that will judge. */
export function requireTool(context: Skippable, ...programs: readonly string[]): void {
  for (const program of programs) {
    if (findProgram(program, DEFAULT_SEARCH_PATH) === undefined) {
      unavailable(context, `${program} is not installed (sh native-tools/install.sh --dev)`);
    }
  }
}

/** For what only root may do: mounts. */
export function requireRoot(context: Skippable): void {
  if (geteuid?.() !== 0) unavailable(context, 'this needs root');
}
