import * as v from 'valibot';
import { KIB, MIB } from '../../units.js';
import type { PoolErrorCode } from '../../pool/pool-error.js';

/*
 * Calls between the hosts of a pool: `POST /internal/call/NAME` with a body of JSON. The answer is 200 whatever becomes
 * of the call, and its body lines (call-lines.ts): some while it takes its time, so that silence means that the other
 * side is gone; the last one is `{"result": …}` or `{"error": {"code", "parameters"}}`. Whoever called and goes away
 * cancels it.
 */

type Schema = v.GenericSchema;

/** A call: its name, and what goes in and comes out. Who gets something checks it. */
export interface InternalCall<Request extends Schema, Answer extends Schema, Progress extends Schema> {
  readonly name: string;
  readonly request: Request;
  readonly answer: Answer;
  /** What it tells of its progress; a step that is none is passed over. */
  readonly progress: Progress;
}

/** Longer requests and answers are refused. */
export const MAX_REQUEST_BYTES = MIB;
export const MAX_ANSWER_BYTES = 8 * MIB;

/** How often something comes of a call that is under way, and how long silence is borne. */
export const ALIVE_MILLISECONDS = 5000;
export const SILENCE_MILLISECONDS = 30_000;

export function callPath(name: string): string {
  return `/internal/call/${name}`;
}

export function internalCall<const Request extends Schema, const Answer extends Schema>(
  name: string,
  request: Request,
  answer: Answer,
): InternalCall<Request, Answer, v.NeverSchema<undefined>> {
  return { name, request, answer, progress: v.never() };
}

/** One that tells how far it is. */
export function longCall<
  const Request extends Schema,
  const Answer extends Schema,
  const Progress extends Schema,
>(
  name: string,
  request: Request,
  answer: Answer,
  progress: Progress,
): InternalCall<Request, Answer, Progress> {
  return { name, request, answer, progress };
}

/**
 * What one host may tell another one's clients. Another code would be about something that those clients have never
 * heard of (a session, a handle of its own).
 */
export const PASSED_ON: ReadonlySet<PoolErrorCode> = new Set<PoolErrorCode>([
  'CANNOT_FETCH_PATCH',
  'OPERATION_NOT_ALLOWED',
  'CANNOT_FIND_PATCH',
  'INVALID_PATCH',
  'INVALID_PATCH_WITH_LOG',
  'OTHER_OPERATION_IN_PROGRESS',
  'OUT_OF_SPACE',
  'PATCH_ALREADY_APPLIED',
  'PATCH_APPLY_FAILED',
  'PATCH_PRECHECK_FAILED_ISO_MOUNTED',
  'PATCH_PRECHECK_FAILED_OUT_OF_SPACE',
  'PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING',
  'PATCH_PRECHECK_FAILED_UNKNOWN_ERROR',
  'PATCH_PRECHECK_FAILED_VM_RUNNING',
  'PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD',
  'PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION',
  'SR_FULL',
  'SR_HAS_NO_PBDS',
  'VALUE_NOT_SUPPORTED',
  'VDI_IO_ERROR',
  'VDI_MISSING',
]);

/** How a call ended. */
export const outcomeSchema = v.union([
  v.strictObject({ result: v.unknown() }),
  v.strictObject({
    error: v.strictObject({
      code: v.pipe(v.string(), v.maxLength(100)),
      parameters: v.pipe(v.array(v.pipe(v.string(), v.maxLength(64 * KIB))), v.maxLength(16)),
    }),
  }),
]);

/* What the schemas of calls are made of. */

export const uuidSchema = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID'),
);

/** A number of bytes. */
export const bytesSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** Words for people. */
export const labelSchema = v.pipe(v.string(), v.maxLength(1024));

/** Lower-case hex of 256 bits: a SHA-256, a key. */
export const hex256Schema = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, '64 hex digits'));
