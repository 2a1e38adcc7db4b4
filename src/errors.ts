/**
 * The closed list of ways in which an operation of this project can fail (design, "Errors").
 * Callers branch on `kind`; everything else is for people.
 */
export type ErrorKind =
  | 'usage'
  | 'signature'
  | 'upload'
  | 'space'
  | 'image'
  | 'tool'
  | 'sink'
  | 'interrupted';

/** The data behind a message. Every field is optional and plain text or a number, so it survives JSON. */
export interface ErrorContext {
  /** What was being done, as a verb phrase: `format the template`. */
  readonly operation?: string;
  /** The file, device or stream concerned, as the user named it. */
  readonly path?: string;
  /** Byte offset within `path`. */
  readonly offset?: number;
  /** Of an image: whether `offset` counts in the file, or on the disk that is in it. */
  readonly space?: 'file' | 'disk';
  /** What was there. */
  readonly found?: string;
  /** What should have been there. */
  readonly expected?: string;
}

/** What an error is made of, beside its kind and its message. */
export interface ErrorDetails {
  readonly context?: ErrorContext;
  /** What the user can do about it, as an imperative sentence. */
  readonly hint?: string;
  /** What exists now because of the failed operation; the default of the kind says the rest. */
  readonly leftBehind?: string;
  readonly cause?: unknown;
}

/** What is left behind when nothing else was said: one answer for each kind, as the README documents it. */
export const DEFAULT_LEFT_BEHIND: Readonly<Record<ErrorKind, string>> = {
  usage: 'nothing was touched',
  signature: 'nothing under the final name, nothing mountable',
  upload: 'nothing under the final name, nothing mountable',
  space: 'nothing under the final name, nothing mountable',
  image: 'nothing was touched',
  tool: 'nothing under the final name, nothing mountable',
  sink: 'nothing under the final name, nothing mountable',
  interrupted: 'nothing under the final name, nothing mountable',
};

/**
 * The one error type that leaves this project.
 *
 * `message` is a short sentence without the cause repeated; `context.found` and `context.expected` carry the
 * numbers; `cause` keeps the original error. Match on `kind` (or on `code`, which is `PATCH_VDI_` + the kind in
 * upper case) rather than with `instanceof`: two copies of a package have two classes.
 */
export class PatchVdiError extends Error {
  override readonly name = 'PatchVdiError';
  readonly kind: ErrorKind;
  readonly code: string;
  readonly context: ErrorContext;
  readonly hint: string | undefined;
  readonly leftBehind: string;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.code = `PATCH_VDI_${kind.toUpperCase()}`;
    this.context = details.context ?? {};
    this.hint = details.hint;
    this.leftBehind = details.leftBehind ?? DEFAULT_LEFT_BEHIND[kind];
  }
}

/** The same error, with parts of it said in other words: whoever calls knows what the user knows. */
export function restate(
  { kind, message, context, hint, leftBehind, cause }: PatchVdiError,
  words: Pick<ErrorDetails, 'hint' | 'leftBehind'> & { readonly path?: string },
): PatchVdiError {
  const newHint = words.hint ?? hint;
  return new PatchVdiError(kind, message, {
    context: words.path === undefined ? context : { ...context, path: words.path },
    ...(newHint === undefined ? {} : { hint: newHint }),
    leftBehind: words.leftBehind ?? leftBehind,
    cause,
  });
}

/** True for our error, also for one made by another copy of this package. */
export function isPatchVdiError(error: unknown): error is PatchVdiError {
  return error instanceof Error && error.name === 'PatchVdiError' && 'kind' in error;
}

/** The `code` of a Node system error (`ENOSPC`), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Our own arithmetic or order of calls is wrong: a defect of this program, never the user's input.
 * Input that is wrong gets a {@link PatchVdiError}.
 */
export function invariant(condition: boolean, statement: string): asserts condition {
  if (!condition) throw new Error(`patch-vdi has a defect: it must hold that ${statement}`);
}
