import type { Exchange } from './exchange.js';
import { answerJsonRpc } from './json-rpc.js';
import type { Route } from './routes.js';
import type { CallTarget, RpcClient } from './xen-api.js';
import { answerXmlRpc } from './xml-rpc.js';

type Answer = (api: CallTarget, body: Uint8Array, client: RpcClient) => Promise<string>;

/** Paths of the XenAPI; clients compare the content type as a whole, without a charset. */
const PROTOCOLS: readonly (readonly [path: string, contentType: string, answer: Answer])[] = [
  ['/jsonrpc', 'application/json', answerJsonRpc],
  ['/', 'text/xml', answerXmlRpc],
  // Where some clients of XML-RPC look first.
  ['/xmlrpc', 'text/xml', answerXmlRpc],
  ['/RPC2', 'text/xml', answerXmlRpc],
];

/** The calls of the XenAPI, which say in their body who makes them. */
export function callRoutes(api: CallTarget): readonly Route[] {
  return PROTOCOLS.map(([path, contentType, answer]) => ({
    methods: ['POST'],
    path,
    needs: 'nothing',
    handle: async (exchange: Exchange) => {
      const { address, signal } = exchange;
      const text = await answer(api, await exchange.callBody(), { address, signal });
      exchange.send(200, contentType, text);
    },
  }));
}
