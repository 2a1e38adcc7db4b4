import * as v from 'valibot';
import { NULL_REF, type Ref } from '../../pool/fields.js';
import { PoolError } from '../../pool/pool-error.js';
import { printable } from '../../signature/printable.js';
import { parseServerUrl } from '../../xenapi/server-address.js';
import { HttpRefusal } from '../http-refusal.js';
import type { Request, Route } from '../routes.js';
import { HELLO, JOIN_PATH, joinRequestSchema, type Announcement, type JoinRequest } from './host-calls.js';
import type { HostLink } from './host-link.js';
import { Member, keyOfHost, type MemberOptions } from './member.js';
import { recordAnnouncement, recordJoin, removeMember, type MemberRules } from './member-records.js';
import { patchRoute } from './patch-of-master.js';
import { hostKey } from './proof.js';
import { internalRoutes, served } from './serve-calls.js';

export interface MembersOptions extends MemberOptions {
  readonly newUuid: () => string;
}

/** The other hosts of the pool, on its master. */
export class Members {
  readonly #options: MembersOptions;
  readonly #rules: MemberRules;
  readonly #byHost = new Map<Ref, Member>();

  /** When the pool has its own repositories only. */
  constructor(options: MembersOptions) {
    this.#options = options;
    const { pool, newUuid } = options;
    const ownSrs = new Map(pool.repositories.all.map(({ facts }) => [facts.uuid, facts]));
    this.#rules = { ownSrs, newUuid };
    for (const [host, record] of pool.database.all('host')) {
      if (keyOfHost(options.secret, record) !== undefined) this.#byHost.set(host, new Member(host, options));
    }
  }

  get #database() {
    return this.#options.pool.database;
  }

  /** The key of a host that has joined. */
  readonly keyOf = (hostUuid: string): Uint8Array | undefined => {
    const host = this.#database.findByUuid('host', hostUuid);
    const record = host === undefined ? undefined : this.#database.find('host', host);
    return record === undefined ? undefined : keyOfHost(this.#options.secret, record);
  };

  /**
   * The way to a slave, for calls to it.
   *
   * @throws PoolError HANDLE_INVALID for no host; HOST_OFFLINE for one that does not answer now
   */
  linkOf(host: Ref): HostLink {
    this.#database.get('host', host);
    const member = this.#byHost.get(host);
    if (member === undefined || !member.isUp) throw new PoolError('HOST_OFFLINE', [host]);
    return member.link;
  }

  /** Takes a host into the pool. @returns its key, hex. @throws PoolError VALUE_NOT_SUPPORTED */
  async join(request: JoinRequest): Promise<string> {
    requireUrl(request.url);
    const host = await this.#database.change((draft) => recordJoin(draft, request, this.#rules));
    const member = this.#byHost.get(host);
    if (member === undefined) this.#byHost.set(host, new Member(host, this.#options));
    else member.refresh();
    const { nameLabel, url } = request;
    this.#options.log.info(`host ${printable(nameLabel, 64)} at ${printable(url, 100)} has joined the pool`);
    return hostKey(this.#options.secret, request.hostUuid, request.joinToken).toString('hex');
  }

  /** What a host says of itself when it has started. */
  async hello(hostUuid: string, announcement: Announcement): Promise<void> {
    requireUrl(announcement.url);
    const host = this.#database.getByUuid('host', hostUuid);
    const refused = await this.#database.change((draft) =>
      recordAnnouncement(draft, host, announcement, this.#rules),
    );
    for (const { uuid, reason } of refused) {
      this.#options.log.warn(`SR ${uuid} of host ${hostUuid} is not taken: ${reason}`);
    }
    this.#byHost.get(host)?.refresh();
  }

  /**
   * `pool.eject`: forgets a host, its storage repositories and their VDIs; the disks stay where they are.
   *
   * @throws PoolError HANDLE_INVALID; VALUE_NOT_SUPPORTED for the master; OTHER_OPERATION_IN_PROGRESS while a disk of
   *   it is being made or written
   */
  async eject(host: Ref): Promise<void> {
    const { pool } = this.#options;
    const record = this.#database.get('host', host);
    if (host === pool.host) {
      throw new PoolError('VALUE_NOT_SUPPORTED', ['host', record.uuid, 'the master cannot be ejected']);
    }
    const own = new Set(record.PBDs.map((pbd) => this.#database.find('PBD', pbd)?.SR ?? NULL_REF));
    const isOnlyHere = (sr: Ref): boolean => this.#database.find('SR', sr)?.PBDs.length === 1;
    for (const [vdi, { SR }] of this.#database.all('VDI')) {
      if (!own.has(SR) || !isOnlyHere(SR) || !pool.vdis.isUnderWay(vdi)) continue;
      throw new PoolError('OTHER_OPERATION_IN_PROGRESS', ['VDI', vdi]);
    }
    const member = this.#byHost.get(host);
    this.#byHost.delete(host);
    await member?.close();
    await this.#database.change((draft) => {
      if (draft.find('host', host) !== undefined) removeMember(draft, host);
    });
    this.#options.log.info(`host ${printable(record.name_label, 64)} was ejected`);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byHost.values()].map((member) => member.close()));
  }

  /** What slaves ask of their master. */
  routes(): readonly Route[] {
    const { pool } = this.#options;
    const poolUuid = pool.database.get('pool', pool.pool).uuid;
    const calls = [
      served(HELLO, async (announcement, { hostUuid }) => {
        await this.hello(hostUuid, announcement);
        return { poolUuid };
      }),
    ];
    const onFailure = (call: string, error: unknown): void =>
      this.#options.log.warn(`${call}: ${printable(String(error), 300)}`);
    const check = { sender: 'slave', keyOf: this.keyOf } as const;
    return [
      ...internalRoutes({ ...check, calls, onFailure }),
      patchRoute(pool, check),
      {
        methods: ['POST'],
        path: JOIN_PATH,
        needs: 'pool-admin',
        handle: (request) => this.#answerJoin(request, poolUuid),
      },
    ];
  }

  async #answerJoin({ exchange }: Request, poolUuid: string): Promise<void> {
    const body = (await exchange.callBody()).toString();
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), joinRequestSchema), body);
    if (!parsed.success) throw new HttpRefusal('BAD_REQUEST', 'this is no request to join');
    const key = await this.join(parsed.output);
    exchange.send(200, 'application/json', `${JSON.stringify({ poolUuid, key })}\n`);
  }
}

/** @throws PoolError VALUE_NOT_SUPPORTED */
function requireUrl(url: string): void {
  try {
    if (parseServerUrl(url).secure) return;
  } catch {
    // Said below.
  }
  throw new PoolError('VALUE_NOT_SUPPORTED', ['url', url.slice(0, 100), 'no URL of a host']);
}
