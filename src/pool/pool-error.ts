import { isPatchVdiError, type ErrorKind, type PatchVdiError } from '../errors.js';

/** The errors of the XenAPI that the pool side answers with, and what their parameters are. */
export type PoolErrorCode =
  | 'CANNOT_FETCH_PATCH' // uuid
  | 'CANNOT_FIND_PATCH' // none
  | 'EVENTS_LOST' // none
  | 'EVENT_FROM_TOKEN_PARSE_FAILURE' // token
  | 'FIELD_TYPE_ERROR' // field
  | 'HANDLE_INVALID' // class, ref
  | 'HOST_HAS_NO_PATCH_SR' // host
  | 'HOST_OFFLINE' // host
  | 'HOST_IS_SLAVE' // address of the master
  | 'INTERNAL_ERROR' // message
  | 'INVALID_PATCH' // none
  | 'INVALID_PATCH_WITH_LOG' // log
  | 'MAP_DUPLICATE_KEY' // type, param_name, uuid, key
  | 'MESSAGE_METHOD_UNKNOWN' // method
  | 'MESSAGE_PARAMETER_COUNT_MISMATCH' // method, expected, received
  | 'OPERATION_NOT_ALLOWED' // reason
  | 'OTHER_OPERATION_IN_PROGRESS' // class, ref
  | 'OUT_OF_SPACE' // location
  | 'PATCH_ALREADY_APPLIED' // patch
  | 'PATCH_APPLY_FAILED' // output
  | 'PATCH_IS_APPLIED' // none
  | 'PATCH_PRECHECK_FAILED_ISO_MOUNTED' // patch
  | 'PATCH_PRECHECK_FAILED_OUT_OF_SPACE' // patch, found, required
  | 'PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING' // patch, uuids joined by ;
  | 'PATCH_PRECHECK_FAILED_UNKNOWN_ERROR' // patch, info
  | 'PATCH_PRECHECK_FAILED_VM_RUNNING' // patch
  | 'PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD' // patch, found, required
  | 'PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION' // patch, found, required
  | 'RBAC_PERMISSION_DENIED' // permission, message
  | 'SESSION_AUTHENTICATION_FAILED' // none
  | 'SESSION_INVALID' // session
  | 'SR_BACKEND_FAILURE' // status, output, error
  | 'SR_FULL' // requested, maximum
  | 'SR_HAS_NO_PBDS' // sr
  | 'TASK_CANCELLED' // task
  | 'TOO_BUSY' // none
  | 'UUID_INVALID' // class, uuid
  | 'VALUE_NOT_SUPPORTED' // field, value, reason
  | 'VDI_IO_ERROR' // "Device I/O errors"
  | 'VDI_MISSING'; // sr, vdi

/** Longer texts are cut: a parameter stands in a task's record and on a client's screen. */
const MAX_PARAMETER_CHARACTERS = 4096;

/**
 * A call that the pool refuses, in the form of the XenAPI: a code, and parameters that are all strings. What the
 * library itself throws is a {@link PatchVdiError}; {@link toPoolError} translates.
 */
export class PoolError extends Error {
  override readonly name = 'PoolError';
  readonly code: PoolErrorCode;
  readonly parameters: readonly string[];

  constructor(code: PoolErrorCode, parameters: readonly string[] = [], cause?: unknown) {
    const cut = parameters.map((text) => text.slice(0, MAX_PARAMETER_CHARACTERS));
    super([code, ...cut].join(': '), cause === undefined ? undefined : { cause });
    this.code = code;
    this.parameters = cut;
  }

  /** As `error_info` of a task and `ErrorDescription` have it. */
  get description(): readonly string[] {
    return [this.code, ...this.parameters];
  }
}

export function isPoolError(error: unknown): error is PoolError {
  return error instanceof Error && error.name === 'PoolError' && 'parameters' in error;
}

/** What an error is about, for the parameters that only the caller knows. */
export interface ErrorScene {
  /** Where there is no space: the name of an SR, or a path. */
  readonly location: string;
  /** The task that was cancelled, or the NULL ref. */
  readonly task: string;
  /** Absolute; what is full may be the disk of this one. */
  readonly stateFolder: string;
  /** What comes in: a patch, or the bytes of any disk. */
  readonly upload: 'patch' | 'disk';
}

/** Message, found and expected in one line. */
function words({ message, context: { found, expected } }: PatchVdiError): string {
  const details = [found, expected === undefined ? undefined : `expected ${expected}`];
  return [message, ...details.filter((part) => part !== undefined)].join('; ');
}

type Translation = (error: PatchVdiError, scene: ErrorScene) => PoolError;

const deviceError: Translation = (error) => new PoolError('VDI_IO_ERROR', ['Device I/O errors'], error);
const internal: Translation = (error) => new PoolError('INTERNAL_ERROR', [words(error)], error);

/** One row for each kind of error of the library. */
const TRANSLATIONS: Readonly<Record<ErrorKind, Translation>> = {
  // Why is told to the server's log, not to whoever tries signatures out.
  signature: (error) => new PoolError('INVALID_PATCH', [], error),
  upload: (error, scene) =>
    scene.upload === 'disk'
      ? deviceError(error, scene)
      : new PoolError('INVALID_PATCH_WITH_LOG', [words(error)], error),
  space: (error, { location, stateFolder }) => {
    const isState = error.context.path?.startsWith(stateFolder) === true;
    return new PoolError('OUT_OF_SPACE', [isState ? stateFolder : location], error);
  },
  interrupted: (error, { task }) => new PoolError('TASK_CANCELLED', [task], error),
  sink: deviceError,
  image: deviceError,
  tool: internal,
  // Uploads have no options: what is wrong is how the server was set up.
  usage: internal,
};

/** Any error as the pool answers it. The original is the `cause`. */
export function toPoolError(error: unknown, scene: ErrorScene): PoolError {
  if (isPoolError(error)) return error;
  if (isPatchVdiError(error)) return TRANSLATIONS[error.kind](error, scene);
  return new PoolError('INTERNAL_ERROR', [error instanceof Error ? error.message : String(error)], error);
}
