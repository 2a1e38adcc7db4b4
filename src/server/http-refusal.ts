import { isPoolError, type PoolErrorCode } from '../pool/pool-error.js';

/** What the HTTP side refuses before the pool is asked. */
export type HttpRefusalCode =
  | 'BAD_REQUEST'
  | 'NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'REQUEST_TIMEOUT'
  | 'CONTENT_TOO_LARGE'
  | 'UNSUPPORTED_MEDIA_TYPE'
  | 'RANGE_NOT_SATISFIABLE'
  | 'TOO_MANY_REQUESTS'
  | 'SERVER_STOPS';

const REFUSAL_STATUS: Readonly<Record<HttpRefusalCode, number>> = {
  BAD_REQUEST: 400,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  CONTENT_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  RANGE_NOT_SATISFIABLE: 416,
  TOO_MANY_REQUESTS: 429,
  SERVER_STOPS: 503,
};

/** A request that is refused for reasons of HTTP, not of the pool. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly code: HttpRefusalCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: HttpRefusalCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }
}

const BASIC_CHALLENGE = { 'WWW-Authenticate': 'Basic realm="patch-vdi", charset="UTF-8"' };

/** The pool's errors that are not 500. */
const POOL_STATUS: Readonly<Partial<Record<PoolErrorCode, number>>> = {
  SESSION_AUTHENTICATION_FAILED: 401,
  SESSION_INVALID: 401,
  RBAC_PERMISSION_DENIED: 403,
  CANNOT_FIND_PATCH: 404,
  HANDLE_INVALID: 404,
  UUID_INVALID: 404,
  VDI_MISSING: 404,
  OPERATION_NOT_ALLOWED: 409,
  OTHER_OPERATION_IN_PROGRESS: 409,
  PATCH_IS_APPLIED: 409,
  TASK_CANCELLED: 409,
  INVALID_PATCH: 422,
  INVALID_PATCH_WITH_LOG: 422,
  VALUE_NOT_SUPPORTED: 422,
  OUT_OF_SPACE: 507,
  SR_FULL: 507,
};

/** An error as a client sees it: `{"error": {"code", "parameters"}}` with the status that fits. */
export interface HttpError {
  readonly status: number;
  readonly code: string;
  readonly parameters: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
}

/** @param error anything; what is neither the pool's nor a refusal is not told to clients */
export function httpErrorOf(error: unknown): HttpError {
  if (error instanceof HttpRefusal) {
    const { code, headers, message } = error;
    return { status: REFUSAL_STATUS[code], code, parameters: [message], headers };
  }
  if (isPoolError(error)) {
    // Refused within a task, which has it as an error of its own.
    if (error.cause instanceof HttpRefusal) return httpErrorOf(error.cause);
    const { code, parameters } = error;
    const status = POOL_STATUS[code] ?? 500;
    return { status, code, parameters, headers: status === 401 ? BASIC_CHALLENGE : {} };
  }
  return { status: 500, code: 'INTERNAL_ERROR', parameters: ['see the log of the server'], headers: {} };
}
