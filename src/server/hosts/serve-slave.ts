import { setTimeout as sleep } from 'node:timers/promises';
import { PatchVdiError } from '../../errors.js';
import { FolderRepository } from '../../pool/folder-repository.js';
import { isPoolError } from '../../pool/pool-error.js';
import { lockState } from '../../pool/state-lock.js';
import type { StorageRepository } from '../../pool/storage.js';
import { printable } from '../../signature/printable.js';
import { DEFAULT_TIMEOUTS } from '../../xenapi/exchange.js';
import { parseServerUrl } from '../../xenapi/server-address.js';
import { isLoopback } from '../addresses.js';
import type { PreparedServer } from '../first-start.js';
import type { ServerLog } from '../log.js';
import { startServer, type RunningServer } from '../server.js';
import { Sessions } from '../sessions.js';
import { announcementOf, bracketed, requireReachable, stateOf } from './announce.js';
import { HELLO, PING, type Announcement } from './host-calls.js';
import { HostLink } from './host-link.js';
import { askToJoin, type JoinOptions } from './join-pool.js';
import {
  MEMBERSHIP_FILE,
  newMembership,
  readMembership,
  requireNoPool,
  writeMembership,
  type Joined,
  type Membership,
} from './membership.js';
import { internalRoutes, served, type ServedCall } from './serve-calls.js';
import { ServedSrs } from './serve-srs.js';
import { slaveRoutes } from './slave-routes.js';

/** Between two attempts to tell the master that this host is there. */
const HELLO_MILLISECONDS = 5000;

export interface SlaveOptions {
  readonly prepared: PreparedServer;
  readonly hostName: string;
  /** For a host that has not joined yet; it may be left out afterwards. */
  readonly join?: JoinOptions | undefined;
  /** The master's new address, for a host that has joined; its certificate must be the same. */
  readonly masterUrl?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly log: ServerLog;
  /** More calls that the master may make. Made while this host has its state, and before it listens. */
  readonly calls?: ((scene: SlaveScene) => Promise<readonly ServedCall[]>) | undefined;
}

/** What calls of a slave work with. */
export interface SlaveScene {
  readonly hostUuid: string;
  readonly repositories: readonly StorageRepository[];
  /** To the master; for when it has joined. */
  readonly master: HostLink;
}

/** A slave that serves its storage repositories to its master. */
export interface ServedSlave {
  /** `https://localhost:8443` */
  readonly url: string;
  readonly hostUuid: string;
  readonly masterUrl: string;
  readonly repositories: readonly StorageRepository[];
  /** Stops what is under way. */
  close(): Promise<void>;
}

class Slave {
  readonly #options: SlaveOptions;
  readonly #repositories: readonly StorageRepository[];
  readonly #srs: ServedSrs;
  readonly #stop = new AbortController();
  #membership: Membership;
  readonly #master = new HostLink(() => {
    const { master, key } = this.#joined;
    return {
      server: {
        address: parseServerUrl(master.url),
        trust: { kind: 'certificate', sha256: master.certificateSha256 },
        timeouts: DEFAULT_TIMEOUTS,
      },
      sender: 'slave',
      hostUuid: this.#membership.hostUuid,
      key,
    };
  });
  #telling: Promise<void> = Promise.resolve();

  constructor(options: SlaveOptions, membership: Membership) {
    this.#options = options;
    this.#membership = membership;
    this.#repositories = options.prepared.repositories.map((one) => FolderRepository.open(one));
    this.#srs = new ServedSrs(this.#repositories);
  }

  get #joined(): Joined {
    const { joined } = this.#membership;
    // Between the first listening and the master's answer.
    if (joined === undefined) throw new PatchVdiError('usage', 'this host has not joined its pool yet');
    return joined;
  }

  async #save(membership: Membership): Promise<void> {
    await writeMembership(this.#options.prepared.stateFolder, membership);
    this.#membership = membership;
  }

  async start(): Promise<ServedSlave> {
    const { prepared, hostName, join, masterUrl } = this.#options;
    const { config } = prepared;
    const server = await this.#listen();
    try {
      this.#port = server.port;
      const announcement = announcementOf(prepared, hostName, this.#repositories, server.port);
      if (this.#membership.joined === undefined) {
        if (join === undefined) throw notJoined(prepared.stateFolder);
        requireReachable(config.host.address, parseServerUrl(join.url));
        const { hostUuid, joinToken } = this.#membership;
        const joined = await askToJoin(join, { ...announcement, hostUuid, joinToken });
        await this.#save({ ...this.#membership, joined });
      } else if (masterUrl !== undefined) {
        const { name } = parseServerUrl(masterUrl);
        const joined = { ...this.#joined, master: { ...this.#joined.master, url: name } };
        if (name !== this.#joined.master.url) await this.#save({ ...this.#membership, joined });
      }
      this.#telling = this.#tell(announcement);
    } catch (error) {
      await server.close();
      throw error;
    }
    const host = isLoopback(config.listen.address) ? 'localhost' : bracketed(config.host.address);
    return {
      url: `https://${host}:${server.port}`,
      hostUuid: this.#membership.hostUuid,
      masterUrl: this.#joined.master.url,
      repositories: this.#repositories,
      close: async () => {
        this.#stop.abort();
        await this.#telling;
        await server.close();
        await this.#srs.idle();
      },
    };
  }

  async #listen(): Promise<RunningServer> {
    const { prepared, log, now } = this.#options;
    const { config, tls, users } = prepared;
    if (tls === undefined) {
      throw new PatchVdiError('usage', 'hosts of a pool talk over TLS', {
        context: { found: 'tls: off', expected: 'a certificate' },
        hint: 'leave tls out of the configuration: the server makes a certificate of its own',
      });
    }
    const check = {
      sender: 'master',
      keyOf: (hostUuid: string) => {
        const { joined } = this.#membership;
        return hostUuid === this.#membership.hostUuid ? joined?.key : undefined;
      },
    } as const;
    const ping = served(PING, async ({ certificate }) => {
      await this.#knowMaster(certificate);
      return { srs: await Promise.all(this.#repositories.map((one) => stateOf(one))) };
    });
    const { hostUuid } = this.#membership;
    const scene = { hostUuid, repositories: this.#repositories, master: this.#master };
    const more = (await this.#options.calls?.(scene)) ?? [];
    const calls = [ping, ...this.#srs.calls, ...more];
    const onFailure = (call: string, error: unknown): void => {
      if (!isPoolError(error)) log.warn(`${call}: ${printable(String(error), 300)}`);
    };
    return await startServer({
      routes: [
        ...internalRoutes({ ...check, calls, onFailure }),
        ...this.#srs.routes(check),
        ...slaveRoutes(() => this.#masterName()),
      ],
      listen: config.listen,
      tls,
      limits: config.limits,
      sessions: new Sessions({ now }),
      authenticate: users.authenticate,
      onRequest: (facts) => log.request(facts),
    });
  }

  #port = 0;

  #masterName(): { readonly url: string; readonly name: string } {
    const { url } = this.#joined.master;
    const { host, port } = parseServerUrl(url);
    // Most clients know no other port than the one they have asked here.
    return { url, name: port === this.#port ? host : `${bracketed(host)}:${port}` };
  }

  /** The master had its certificate renewed: who says so has the key of this host, which nobody but the master makes. */
  async #knowMaster(certificateSha256: string): Promise<void> {
    const joined = this.#joined;
    if (joined.master.certificateSha256 === certificateSha256) return;
    const master = { ...joined.master, certificateSha256 };
    await this.#save({ ...this.#membership, joined: { ...joined, master } });
    this.#options.log.info('the master has a new certificate');
  }

  /** Tells the master that this host is there, until it has heard. Never rejects. */
  async #tell(announcement: Announcement): Promise<void> {
    const { signal } = this.#stop;
    const { log } = this.#options;
    let told: string | undefined;
    while (!signal.aborted) {
      try {
        await this.#master.call(HELLO, announcement, { signal, timeoutMilliseconds: 4 * HELLO_MILLISECONDS });
        log.info(`the master at ${this.#joined.master.url} knows that this host is there`);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const words = wordsOf(error);
        if (words !== told) log.warn(`the master at ${this.#joined.master.url}: ${words}`);
        told = words;
      }
      await sleep(HELLO_MILLISECONDS, undefined, { signal }).catch(() => undefined);
    }
  }
}

function wordsOf(error: unknown): string {
  const words = printable(String(error), 300);
  if (!/SESSION_AUTHENTICATION_FAILED/.test(words)) return words;
  const advice = `to join again, remove ${MEMBERSHIP_FILE} in the state folder and start with --join`;
  return `${words}; this host is not of its pool any more: ${advice}`;
}

function notJoined(stateFolder: string): PatchVdiError {
  return new PatchVdiError('usage', 'this host has not joined a pool', {
    context: {
      path: stateFolder,
      found: 'an attempt to join that broke off',
      expected: '--join https://MASTER',
    },
    hint: `to make it a pool of its own, remove ${MEMBERSHIP_FILE} there`,
  });
}

/**
 * Serves as a slave of a pool: joins it when that has not happened yet, and then waits for the master's calls.
 *
 * @throws XenApiError when the master refuses to be joined; PatchVdiError `usage` when another process has the state,
 *   for a state that is a master's, without TLS; `sink`, `image`
 */
export async function serveSlave(options: SlaveOptions): Promise<ServedSlave> {
  const { stateFolder } = options.prepared;
  const lock = await lockState(stateFolder);
  try {
    await requireNoPool(stateFolder);
    let membership = await readMembership(stateFolder);
    if (membership === undefined) {
      membership = newMembership();
      await writeMembership(stateFolder, membership);
    }
    const slave = await new Slave(options, membership).start();
    const close = async (): Promise<void> => {
      await slave.close();
      await lock.release();
    };
    return { ...slave, close };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
