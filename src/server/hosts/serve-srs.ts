import { PoolError } from '../../pool/pool-error.js';
import { dataRuns } from '../../pool/disk-runs.js';
import type { StorageRepository } from '../../pool/storage.js';
import type { Exchange } from '../exchange.js';
import { HttpRefusal } from '../http-refusal.js';
import { parametersOf, requiredParameter, splitTarget, type Parameters } from '../parameters.js';
import type { Route } from '../routes.js';
import { DiskLocks } from './disk-locks.js';
import { RUNS_TYPE, decodeRuns, encodeRuns } from './disk-stream.js';
import { DISK_PATH } from './host-link.js';
import { callerOf, served, type ServedCall } from './serve-calls.js';
import { SILENCE_MILLISECONDS } from './internal-call.js';
import type { ProofCheck } from './proof.js';
import {
  SR_LIST_VDIS,
  SR_REMOVE_REMAINS,
  SR_USAGE,
  VDI_CLONE_CALL,
  VDI_CREATE,
  VDI_DESTROY,
  VDI_FACTS,
} from './sr-calls.js';

/** The master says that it is alive when it has nothing to send: long holes are no reason to give up. */
const PACE = { idleSeconds: SILENCE_MILLISECONDS / 1000, idleBytes: 1 };

/** The storage repositories of a slave, for its master. */
export class ServedSrs {
  readonly #byUuid: ReadonlyMap<string, StorageRepository>;
  readonly #locks = new DiskLocks();

  constructor(repositories: readonly StorageRepository[]) {
    this.#byUuid = new Map(repositories.map((one) => [one.facts.uuid, one]));
  }

  /** @throws PoolError SR_HAS_NO_PBDS */
  #sr(uuid: string): StorageRepository {
    const repository = this.#byUuid.get(uuid);
    if (repository === undefined) throw new PoolError('SR_HAS_NO_PBDS', [uuid]);
    return repository;
  }

  /** Resolves when no disk is being changed. */
  idle(): Promise<void> {
    return this.#locks.idle();
  }

  get calls(): readonly ServedCall[] {
    const locks = this.#locks;
    return [
      served(SR_USAGE, async ({ sr }) => ({
        ...(await this.#sr(sr).usage()),
        freeBytes: await this.#sr(sr).freeBytes(),
      })),
      served(SR_LIST_VDIS, async ({ sr }) => [...(await this.#sr(sr).listVdis())]),
      served(SR_REMOVE_REMAINS, async ({ sr, vdis }) => {
        const removed: string[] = [];
        for (const vdi of vdis) {
          const work = async (): Promise<readonly string[]> =>
            await this.#sr(sr).removeRemains(new Set([vdi]));
          removed.push(...(await locks.cleanUp(vdi, work)));
        }
        return removed;
      }),
      served(VDI_CREATE, ({ sr, vdi, nameLabel, virtualSize }, { signal }) =>
        locks.change(sr, vdi, async () => {
          signal.throwIfAborted();
          return { ...(await this.#sr(sr).createVdi({ uuid: vdi, nameLabel, virtualSize })) };
        }),
      ),
      served(VDI_DESTROY, ({ sr, vdi }) =>
        locks.destroy(vdi, async () => {
          await this.#sr(sr).destroyVdi(vdi);
          return null;
        }),
      ),
      served(VDI_FACTS, async ({ sr, vdi }) => ({ ...(await this.#sr(sr).vdiFacts(vdi)) })),
      served(VDI_CLONE_CALL, ({ sr, vdi, to, nameLabel }, { signal }) =>
        locks.change(sr, to, async () => {
          signal.throwIfAborted();
          return { ...(await this.#sr(sr).cloneVdi(vdi, { uuid: to, nameLabel }, { signal })) };
        }),
      ),
    ];
  }

  /** The streams. */
  routes(check: ProofCheck): readonly Route[] {
    return [
      {
        methods: ['GET'],
        path: DISK_PATH,
        needs: 'nothing',
        handle: (exchange) => this.#send(exchange, check),
      },
      {
        methods: ['PUT'],
        path: DISK_PATH,
        needs: 'nothing',
        handle: (exchange) => this.#take(exchange, check),
      },
    ];
  }

  async #send(exchange: Exchange, check: ProofCheck): Promise<void> {
    const { signal } = callerOf(exchange, check);
    const { parameters, sr, vdi } = this.#disk(exchange);
    const start = position(parameters, 'start');
    const end = position(parameters, 'end');
    const image = await sr.openVdi(vdi, signal);
    try {
      if (start > end || end > (image.virtualSize ?? 0)) {
        throw new HttpRefusal('RANGE_NOT_SATISFIABLE', 'that is no part of the disk');
      }
      const part = {
        readInto: (target: Uint8Array, offset: number) => image.readInto(target, start + offset),
      };
      const runs = shifted(dataRuns(part, end - start, signal), start);
      exchange.head(200, { 'Content-Type': RUNS_TYPE });
      await exchange.sendStream(encodeRuns(runs, { start, end }));
    } finally {
      await image.close();
    }
  }

  async #take(exchange: Exchange, check: ProofCheck): Promise<void> {
    const { signal } = callerOf(exchange, check);
    const { parameters, sr, vdi } = this.#disk(exchange);
    const end = position(parameters, 'end');
    await this.#locks.change(sr.facts.uuid, vdi, async () => {
      signal.throwIfAborted();
      const { virtualSize } = await sr.vdiFacts(vdi);
      if (end !== virtualSize) throw new HttpRefusal('RANGE_NOT_SATISFIABLE', 'the disk has another size');
      exchange.acceptBody();
      await sr.fillVdi(vdi, decodeRuns(exchange.body(PACE), { start: 0, end }, 'the master'), { signal });
    });
    exchange.send(200, 'text/plain', '');
  }

  #disk({ request }: Exchange): {
    readonly parameters: Parameters;
    readonly sr: StorageRepository;
    readonly vdi: string;
  } {
    const parameters = parametersOf(splitTarget(request.url ?? '').query, request.headers);
    return {
      parameters,
      sr: this.#sr(requiredParameter(parameters, 'sr')),
      vdi: requiredParameter(parameters, 'vdi'),
    };
  }
}

/** @throws HttpRefusal BAD_REQUEST */
function position(parameters: Parameters, name: string): number {
  const text = requiredParameter(parameters, name);
  const number = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new HttpRefusal('BAD_REQUEST', `the parameter ${name} is no position`);
}

async function* shifted(
  runs: AsyncIterable<{ readonly offset: number; readonly bytes: Uint8Array }>,
  by: number,
): AsyncGenerator<{ readonly offset: number; readonly bytes: Uint8Array }> {
  for await (const { offset, bytes } of runs) yield { offset: offset + by, bytes };
}
