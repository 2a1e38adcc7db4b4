import type { IncomingMessage } from 'node:http';
import type { Server } from './exchange.js';
import { redirectAddress, type ServerAddress } from './server-address.js';
import { serverFailure } from './server-failure.js';

/** A pool sends us to the host that sees the SR; that one does it. */
export const MAX_REDIRECTS = 2;

/**
 * Where a `302` of a handler of disks leads: to another host of the pool, by the same scheme.
 *
 * @param path of the handler
 * @throws PatchVdiError `sink` for anything else
 */
export function nextHop(at: Server, response: IncomingMessage, path: string): ServerAddress {
  const address = redirectAddress(at.address, response.headers.location ?? '', path);
  if (address !== undefined) return address;
  throw serverFailure(at.address, 'the server sends us somewhere where no credentials may go', {
    found: 'a redirect to another scheme, or to something else than what was asked for',
    expected: `${path} on another host of the pool, over ${at.address.secure ? 'https' : 'http'}`,
    hint: "look at the addresses of the pool's hosts",
  });
}
