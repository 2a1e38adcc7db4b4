import { PatchVdiError } from '../../errors.js';
import type { StorageRepository } from '../../pool/storage.js';
import type { ServerAddress } from '../../xenapi/server-address.js';
import { parseFingerprint } from '../../xenapi/trust.js';
import { isLoopback } from '../addresses.js';
import type { PreparedServer } from '../first-start.js';
import type { Announcement } from './host-calls.js';

/** As it stands in a URL. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** What a heartbeat tells of an SR. */
export async function stateOf(repository: StorageRepository) {
  const { uuid } = repository.facts;
  try {
    return (await repository.isReachable()) ? { uuid, usage: { ...(await repository.usage()) } } : { uuid };
  } catch {
    // Out of reach, whatever the reason.
    return { uuid };
  }
}

/** @throws PatchVdiError `usage` for a host that only this machine can reach, when the master is elsewhere */
export function requireReachable(address: string, master: ServerAddress): void {
  if (!isLoopback(address) || isLoopback(master.host)) return;
  throw new PatchVdiError('usage', 'the master cannot reach this host', {
    context: { found: `address ${address}`, expected: 'an address of this host in its network' },
    hint: 'listen on all addresses: --listen 0.0.0.0:8443; host.address in the configuration says how it is reached',
  });
}

/** What a slave says of itself. @param port where it listens */
export function announcementOf(
  prepared: PreparedServer,
  hostname: string,
  repositories: readonly StorageRepository[],
  port: number,
): Announcement {
  const { nameLabel, address } = prepared.config.host;
  return {
    nameLabel,
    hostname,
    address,
    url: `https://${bracketed(address)}:${port}`,
    certificate: parseFingerprint(prepared.tls?.fingerprint ?? ''),
    srs: repositories.map(({ facts }) => ({
      uuid: facts.uuid,
      nameLabel: facts.nameLabel,
      type: facts.type,
      capabilities: [...facts.capabilities],
      shared: facts.shared,
      deviceConfig: { path: facts.deviceConfig['path'] ?? '' },
    })),
  };
}
