import { isPoolError } from '../pool/pool-error.js';
import { parseStrictXml, XmlFault } from '../strict-xml.js';
import { MIB } from '../units.js';
import { Int32, type RpcValue } from './rpc-value.js';
import { decodeMethodCall, XmlRpcFault, type XmlRpcCall } from './rpc/xml-decode.js';
import { encodeXmlValue } from './rpc/xml-encode.js';
import type { CallTarget, RpcClient } from './xen-api.js';

/** Eight arrays or structs within each other (calls of the XenAPI have two), and some thousand values. */
const LIMITS = { maxCharacters: MIB, maxDepth: 32, maxTags: 20_000 };

/** "Specification for Fault Code Interoperability": not well formed; invalid XML-RPC. */
const NOT_WELL_FORMED = -32_700;
const NO_CALL = -32_600;

/** XAPI answers this one without the struct around it, as other servers do. */
const BARE = 'system.listMethods';

/** Without any white space: there are clients that take the first thing behind the declaration for the answer. */
const HEAD = '<?xml version="1.0"?><methodResponse>';
const END = '</methodResponse>';

function response(value: RpcValue): string {
  return `${HEAD}<params><param>${encodeXmlValue(value)}</param></params>${END}`;
}

function fault(code: number, text: string): string {
  const value = { faultCode: new Int32(code), faultString: text };
  return `${HEAD}<fault>${encodeXmlValue(value)}</fault>${END}`;
}

function readCall(body: Uint8Array): XmlRpcCall | string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return fault(NOT_WELL_FORMED, 'not UTF-8');
  }
  try {
    return decodeMethodCall(parseStrictXml(text, LIMITS));
  } catch (error) {
    if (error instanceof XmlFault) return fault(NOT_WELL_FORMED, error.message);
    if (error instanceof XmlRpcFault) return fault(NO_CALL, error.message);
    throw error;
  }
}

/**
 * Answers the body of a `POST /`: a call of XML-RPC. What the XenAPI refuses is a struct with `Status` and
 * `ErrorDescription`; a fault is only the answer to what is no call at all. Characters that XML 1.0 does not have
 * become U+FFFD.
 *
 * @returns the text of a `text/xml`, to be sent with status 200
 * @throws only what is a defect: everything that a client can do wrong is an answer
 */
export async function answerXmlRpc(api: CallTarget, body: Uint8Array, client: RpcClient): Promise<string> {
  const call = readCall(body);
  if (typeof call === 'string') return call;
  try {
    const value = await api.call(call.method, call.parameters, client);
    return response(call.method === BARE ? value : { Status: 'Success', Value: value });
  } catch (error) {
    if (!isPoolError(error)) throw error;
    return response({ Status: 'Failure', ErrorDescription: error.description });
  }
}
