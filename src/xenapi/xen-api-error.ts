/** Longer texts are cut: parameters come from a server, and end on a screen. */
const MAX_PARAMETER_CHARACTERS = 4096;
const MAX_PARAMETERS = 32;
const CODE = /^[A-Z][A-Z0-9_]{0,99}$/;

/**
 * A call that a server refused, in the form of the XenAPI: a code, and parameters that are all strings. The words are
 * the server's: they are to be escaped before they are shown.
 */
export class XenApiError extends Error {
  override readonly name = 'XenApiError';
  readonly code: string;
  readonly parameters: readonly string[];
  /** What was called: a method, or a path of the server. */
  readonly operation: string;
  /** What is left on the server, when whoever made the call has seen to it. */
  readonly leftBehind: string | undefined;

  constructor(operation: string, code: string, parameters: readonly string[], leftBehind?: string) {
    super(`${operation}: ${[code, ...parameters].join(', ')}`);
    this.operation = operation;
    this.code = code;
    this.parameters = parameters;
    this.leftBehind = leftBehind;
  }
}

/** True for one of ours, also for one made by another copy of this package. */
export function isXenApiError(error: unknown): error is XenApiError {
  return error instanceof Error && error.name === 'XenApiError' && 'parameters' in error;
}

/**
 * The error that a server describes: `[code, parameter…]`, as `error_info` of a task and `ErrorDescription` have it.
 *
 * @param clean takes the secrets out of a text
 * @returns undefined when that is no description
 */
export function describedError(
  operation: string,
  description: readonly unknown[],
  clean: (text: string) => string,
): XenApiError | undefined {
  const [code, ...parameters] = description;
  if (typeof code !== 'string' || !CODE.test(code)) return undefined;
  const texts = parameters
    .slice(0, MAX_PARAMETERS)
    .map((value) => clean((typeof value === 'string' ? value : JSON.stringify(value)) ?? ''))
    .map((text) => text.slice(0, MAX_PARAMETER_CHARACTERS));
  return new XenApiError(operation, code, texts);
}
