import { PoolError } from '../../pool/pool-error.js';
import { callRoutes } from '../call-routes.js';
import type { Exchange } from '../exchange.js';
import { healthRoute } from '../pool-routes.js';
import type { Route } from '../routes.js';
import { JOIN_PATH } from './host-calls.js';

/** Requests that are the master's to answer. */
const MASTERS = [
  ['/pool_patch_upload', ['PUT']],
  ['/pool_patch_download', ['GET', 'HEAD']],
  ['/import_raw_vdi', ['PUT']],
  ['/export_raw_vdi', ['GET', 'HEAD']],
  [JOIN_PATH, ['POST']],
] as const;

export interface MasterName {
  /** `https://host:8443` */
  readonly url: string;
  /** As `HOST_IS_SLAVE` names it: clients ask there, on the port that they have asked this host on. */
  readonly name: string;
}

/**
 * What a slave answers to clients: every call with `HOST_IS_SLAVE`, requests of HTTP with that and 302. Nobody has to
 * log in for it: the master's address is what clients need first of all.
 */
export function slaveRoutes(master: () => MasterName): readonly Route[] {
  const api = {
    // oxlint-disable-next-line require-await -- as the master's
    call: async (): Promise<never> => {
      throw new PoolError('HOST_IS_SLAVE', [master().name]);
    },
  };
  // oxlint-disable-next-line require-await -- as all handlers
  const redirect = async (exchange: Exchange): Promise<void> => {
    const { url, name } = master();
    const body = { error: { code: 'HOST_IS_SLAVE', parameters: [name] } };
    const location = `${url}${exchange.request.url ?? '/'}`;
    exchange.send(302, 'application/json', `${JSON.stringify(body)}\n`, { Location: location });
  };
  return [
    ...callRoutes(api),
    ...MASTERS.map(([path, methods]): Route => ({ methods, path, needs: 'nothing', handle: redirect })),
    healthRoute,
  ];
}
