import { isPoolError, PoolError } from '../pool/pool-error.js';
import { encodeJson, readJsonParameters } from './rpc/json-value.js';
import type { CallTarget, RpcClient } from './xen-api.js';

/** Calls in one batch. */
const MAX_BATCH = 32;

/** JSON-RPC 2.0, section 5.1. */
const PARSE_ERROR = -32_700;
const INVALID_REQUEST = -32_600;
const INVALID_PARAMETERS = -32_602;

/** XAPI's errors all have this one. */
const API_ERROR = 1;

type Id = string | number | null;

interface Request {
  readonly version: '1.0' | '2.0';
  readonly method: string;
  readonly parameters: unknown;
  /** Undefined: a notification, which nothing answers. */
  readonly id: Id | undefined;
}

/** JSON text of an answer. */
type Answer = string;

function protocolError(code: number, message: string, id: Id = null): Answer {
  return JSON.stringify({ jsonrpc: '2.0', error: { code, message, data: [] }, id });
}

function success({ version, id = null }: Request, result: string): Answer {
  const text = JSON.stringify(id);
  return version === '2.0'
    ? `{"jsonrpc":"2.0","result":${result},"id":${text}}`
    : `{"result":${result},"error":null,"id":${text}}`;
}

/** XAPI's two forms: the code as the message of an object, or in front of the parameters. */
function failure({ version, id = null }: Request, error: PoolError): Answer {
  const { code, parameters, description } = error;
  return version === '2.0'
    ? JSON.stringify({ jsonrpc: '2.0', error: { code: API_ERROR, message: code, data: parameters }, id })
    : JSON.stringify({ result: null, error: description, id });
}

function isId(id: unknown): id is Id {
  return id === null || typeof id === 'string' || (typeof id === 'number' && Number.isFinite(id));
}

/** @returns undefined for what is no request */
function readRequest(value: unknown): Request | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const member = (name: string): unknown =>
    Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
  const [jsonrpc, method, id, params = []] = ['jsonrpc', 'method', 'id', 'params'].map(member);
  if ((jsonrpc !== undefined && jsonrpc !== '2.0') || typeof method !== 'string') return undefined;
  if (id !== undefined && !isId(id)) return undefined;
  const version = jsonrpc === undefined ? '1.0' : '2.0';
  // A notification has no id in version 2.0, and null in 1.0.
  const isNotification = id === undefined || (version === '1.0' && id === null);
  return { version, method, parameters: params, id: isNotification ? undefined : id };
}

async function answerOne(api: CallTarget, value: unknown, client: RpcClient): Promise<Answer | undefined> {
  const request = readRequest(value);
  if (request === undefined) return protocolError(INVALID_REQUEST, 'not a request of JSON-RPC');
  const silent = request.id === undefined;
  const parameters = readJsonParameters(request.parameters);
  if (parameters === undefined) {
    const message = 'parameters are an array, without null, of numbers that fit, and not deep';
    return silent ? undefined : protocolError(INVALID_PARAMETERS, message, request.id);
  }
  try {
    const result = await api.call(request.method, parameters, client);
    return silent ? undefined : success(request, encodeJson(result));
  } catch (error) {
    if (!isPoolError(error)) throw error;
    return silent ? undefined : failure(request, error);
  }
}

async function answerBatch(api: CallTarget, batch: readonly unknown[], client: RpcClient): Promise<string> {
  if (batch.length === 0) return protocolError(INVALID_REQUEST, 'an empty batch');
  if (batch.length > MAX_BATCH) {
    return protocolError(INVALID_REQUEST, `a batch of ${batch.length}: ${MAX_BATCH} at most`);
  }
  const answers: Answer[] = [];
  // One after the other: a batch is no way around the limits of a client.
  for (const value of batch) {
    const answer = await answerOne(api, value, client);
    if (answer !== undefined) answers.push(answer);
  }
  return answers.length === 0 ? '' : `[${answers.join(',')}]`;
}

/**
 * Answers the body of a `POST /jsonrpc`: a request of JSON-RPC 2.0 or 1.0, or a batch of them.
 *
 * @returns the text of an `application/json`, to be sent with status 200; empty when there was nothing but notifications
 * @throws only what is a defect: everything that a client can do wrong is an answer
 */
export async function answerJsonRpc(api: CallTarget, body: Uint8Array, client: RpcClient): Promise<string> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return protocolError(PARSE_ERROR, 'not JSON in UTF-8');
  }
  if (Array.isArray(value)) return await answerBatch(api, value, client);
  return (await answerOne(api, value, client)) ?? '';
}
