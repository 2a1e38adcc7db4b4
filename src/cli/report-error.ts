import { isPatchVdiError, type PatchVdiError } from '../errors.js';
import { traceEnabled } from '../trace.js';
import { EXIT_DEFECT, EXIT_DIFFERENT, exitCodeFor, type StopSignal } from './exit-codes.js';
import { fieldLines, visible, wrapWords } from './text.js';

function place(error: PatchVdiError): string | undefined {
  const { path, offset } = error.context;
  if (offset === undefined) return path;
  return `${path === undefined ? '' : `${path}, `}offset ${offset}`;
}

/** What a person reads: one sentence, then what was found, what was expected, what is left, what to do. */
export function errorLines(error: PatchVdiError, exitCode: number, columns: number): string[] {
  const { context } = error;
  return [
    ...wrapWords(`patch-vdi: ${visible(error.message)}`, columns),
    ...fieldLines(
      [
        ['at', place(error)],
        ['found', context.found],
        ['expected', context.expected],
        ['left behind', error.leftBehind],
        ['to do', error.hint],
        ['exit code', exitCode === EXIT_DIFFERENT ? String(exitCode) : `${exitCode} (${error.kind})`],
      ],
      columns,
    ),
  ];
}

/** What a script reads with --json. */
export function errorObject(error: PatchVdiError, exitCode: number): object {
  const { kind, code, message, context, hint, leftBehind } = error;
  return { ok: false, error: { kind, code, exitCode, message, ...context, hint, leftBehind } };
}

export interface ErrorReport {
  readonly exitCode: number;
  readonly lines: readonly string[];
  readonly object: object;
}

/** Turns whatever was thrown into what is printed and the exit code. */
export function reportError(
  thrown: unknown,
  stoppedBy: StopSignal | undefined,
  columns: number,
): ErrorReport {
  const trail = traceEnabled() ? stackLines(thrown) : [];
  if (isPatchVdiError(thrown)) {
    const exitCode = exitCodeFor(thrown.kind, stoppedBy);
    const lines = [...errorLines(thrown, exitCode, columns), ...trail];
    return { exitCode, lines, object: errorObject(thrown, exitCode) };
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const hint =
    'this is a defect of patch-vdi; run it again with NODE_DEBUG=patch-vdi and report what it prints';
  return {
    exitCode: EXIT_DEFECT,
    lines: [`patch-vdi: ${visible(message)}`, ...fieldLines([['to do', hint]], columns), ...trail],
    object: { ok: false, error: { kind: 'defect', exitCode: EXIT_DEFECT, message, hint } },
  };
}

function stackLines(thrown: unknown): string[] {
  const lines: string[] = [];
  // A chain of causes is short; the bound is against one that ends in itself.
  for (let error = thrown, depth = 0; error instanceof Error && depth < 8; error = error.cause, depth += 1) {
    lines.push(...(error.stack ?? String(error)).split('\n').map((line) => visible(line)));
  }
  return lines;
}
