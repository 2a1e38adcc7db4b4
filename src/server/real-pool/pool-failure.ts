import { isPatchVdiError } from '../../errors.js';
import { PoolError, isPoolError } from '../../pool/pool-error.js';
import { isXenApiError, type XenApiError } from '../../xenapi/xen-api-error.js';

/** What was asked of a real pool when it failed. */
export interface FailureScene {
  /** UUID. */
  readonly sr: string;
  /** UUID; undefined when it is about none in particular. */
  readonly vdi: string | undefined;
  /** As messages call the pool. */
  readonly server: string;
  /** Of whoever asked. */
  readonly signal: AbortSignal | undefined;
}

/** "There is insufficient space", as drivers of SRs say it. */
const FULL_BY_DRIVER = 'SR_BACKEND_FAILURE_44';

function wordsOf({ code, parameters }: XenApiError): string {
  return [code, ...parameters].join(', ');
}

function translated(error: XenApiError, { sr, vdi }: FailureScene, cause: unknown): PoolError {
  const { code, parameters } = error;
  const isGone = (code === 'HANDLE_INVALID' || code === 'UUID_INVALID') && parameters[0] === 'VDI';
  if (isGone && vdi !== undefined) return new PoolError('VDI_MISSING', [sr, vdi], cause);
  if (code === 'SR_FULL') return new PoolError(code, parameters, cause);
  if (code === FULL_BY_DRIVER || code === 'OUT_OF_SPACE') return new PoolError('OUT_OF_SPACE', [sr], cause);
  if (code === 'VDI_IO_ERROR') return new PoolError(code, parameters, cause);
  // References of the other pool mean nothing here.
  return new PoolError('SR_BACKEND_FAILURE', [code, `the pool says: ${wordsOf(error)}`, ''], cause);
}

/**
 * What a real pool says as our own pool says it. What is no failure of the pool stays what it is: a bad signature, a
 * full disk of this machine, and what ended because somebody stopped it.
 */
export function asPoolFailure(error: unknown, scene: FailureScene): unknown {
  if (scene.signal?.aborted === true || isPoolError(error)) return error;
  if (isXenApiError(error)) return translated(error, scene, error);
  if (!isPatchVdiError(error)) return error;
  if (isXenApiError(error.cause)) return translated(error.cause, scene, error);
  const { kind, message, context } = error;
  const isOfPool = kind === 'sink' && (context.path === scene.server || context.path?.includes(scene.server));
  if (isOfPool !== true) return error;
  const words = context.found === undefined ? message : `${message}: ${context.found}`;
  return new PoolError('SR_BACKEND_FAILURE', ['pool', words, ''], error);
}
