import type * as v from 'valibot';
import { safeParse } from 'valibot';
import { isPoolError } from '../../pool/pool-error.js';
import type { Exchange } from '../exchange.js';
import { HttpRefusal } from '../http-refusal.js';
import type { Route } from '../routes.js';
import { AnswerLines } from './call-lines.js';
import { MAX_REQUEST_BYTES, callPath, type InternalCall } from './internal-call.js';
import { checkProof, type ProofCheck } from './proof.js';

/** Who calls. */
export interface Caller {
  /** Of the slave, whichever side it is. */
  readonly hostUuid: string;
  /** Aborted when the caller has gone, and when the server stops. */
  readonly signal: AbortSignal;
}

/** The same, while the call is done. @param Progress what the call tells of it */
export interface RunningCaller<Progress> extends Caller {
  readonly progress: (step: Progress) => void;
}

/** A call with what it does here. */
export interface ServedCall {
  readonly name: string;
  readonly run: (request: unknown, caller: RunningCaller<unknown>) => Promise<unknown>;
}

/** @param run what it throws is told to the caller if it is a PoolError, else only that something went wrong */
export function served<
  Request extends v.GenericSchema,
  Answer extends v.GenericSchema,
  Progress extends v.GenericSchema,
>(
  call: InternalCall<Request, Answer, Progress>,
  run: (
    request: v.InferOutput<Request>,
    caller: RunningCaller<v.InferInput<Progress>>,
  ) => Promise<v.InferInput<Answer>> | v.InferInput<Answer>,
): ServedCall {
  return {
    name: call.name,
    run: async (given, caller) => {
      const parsed = safeParse(call.request, given, { abortEarly: true });
      if (!parsed.success) throw new HttpRefusal('BAD_REQUEST', `this is no request of ${call.name}`);
      return await run(parsed.output, caller);
    },
  };
}

export interface InternalRoutesOptions extends ProofCheck {
  readonly calls: readonly ServedCall[];
  /** What went wrong in a call, whatever was told of it. */
  readonly onFailure: (call: string, error: unknown) => void;
}

/** Who makes an internal request. @throws PoolError SESSION_AUTHENTICATION_FAILED */
export function callerOf({ request, signal }: Exchange, check: ProofCheck): Caller {
  const { method = '', url = '', headers, socket } = request;
  const hostUuid = checkProof(headers.authorization, { method, target: url }, socket, check);
  return { hostUuid, signal };
}

function readJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new HttpRefusal('BAD_REQUEST', 'the body is no JSON');
  }
}

function outcomeOf(error: unknown): unknown {
  if (isPoolError(error)) return { error: { code: error.code, parameters: error.parameters } };
  return { error: { code: 'INTERNAL_ERROR', parameters: ['see the log of that host'] } };
}

async function answerCall(
  exchange: Exchange,
  { name, run }: ServedCall,
  options: InternalRoutesOptions,
): Promise<void> {
  const caller = callerOf(exchange, options);
  if ((exchange.contentLength ?? 0) > MAX_REQUEST_BYTES) {
    throw new HttpRefusal('CONTENT_TOO_LARGE', `a call has at most ${MAX_REQUEST_BYTES} bytes`);
  }
  const request = readJson(await exchange.callBody());
  const lines = new AnswerLines();
  const outcome = run(request, { ...caller, progress: lines.progress }).then(
    (result) => ({ result: result ?? null }),
    (error: unknown) => {
      options.onFailure(name, error);
      return outcomeOf(error);
    },
  );
  try {
    exchange.head(200, { 'Content-Type': 'application/json' });
    await exchange.sendStream(lines.bytes(outcome));
  } finally {
    // Also when nobody listens any more: a server that stops waits for it.
    await outcome;
  }
}

/** The paths of internal calls; nobody but the right host gets further than its proof. */
export function internalRoutes(options: InternalRoutesOptions): readonly Route[] {
  return options.calls.map((call) => ({
    methods: ['POST'],
    path: callPath(call.name),
    needs: 'nothing',
    handle: (exchange) => answerCall(exchange, call, options),
  }));
}
