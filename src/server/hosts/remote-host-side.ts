import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isPatchVdiError, PatchVdiError } from '../../errors.js';
import type { Ref } from '../../pool/fields.js';
import type {
  AppliedPatch,
  HostApply,
  HostApplyRequest,
  HostCallOptions,
  HostPrecheck,
  HostRequest,
  HostSide,
  HostStep,
  UnfinishedPatch,
} from '../../pool/host-side.js';
import { PoolError } from '../../pool/pool-error.js';
import { printable } from '../../signature/printable.js';
import { lostConnection, UNKNOWN_OUTCOME } from '../../xenapi/server-failure.js';
import {
  HOST_ABLE,
  HOST_APPLIED,
  HOST_APPLY,
  HOST_PRECHECK,
  HOST_STOP,
  HOST_SWEEP,
} from './host-calls-apply.js';
import type { CallOptions, HostLink } from './host-link.js';

/** Of the short calls. */
const ANSWER_MILLISECONDS = 30_000;
/** All limits of a patch (`src/host/limits.ts`), and what copies and checks may take. */
const PATCH_MILLISECONDS = 6 * 60 * 60_000;
/** How long a slave may take to stop; between two attempts to tell it, and how many. */
const STOP_MILLISECONDS = 60_000;
const AGAIN_MILLISECONDS = 500;
const STOP_TRIES = 20;

/** From here on it may be that the patch runs, though the step has not come through. */
const MAY_RUN: ReadonlySet<HostStep['phase']> = new Set(['info', 'precheck', 'apply', 'clean up']);

function wordsOf(error: PatchVdiError): string {
  const parts = [error.message, error.context.found].filter((part) => part !== undefined);
  return printable(parts.join(': '), 300);
}

/** A slave, as its master reaches it. What it says is about itself, and about the patch that was asked for. */
export class RemoteHostSide implements HostSide {
  readonly host: Ref;
  readonly #link: HostLink;

  readonly #onLost: () => void;

  /** @param onLost an apply was lost sight of: what came of it is to be found out */
  constructor(host: Ref, link: HostLink, onLost: () => void = () => undefined) {
    this.host = host;
    this.#link = link;
    this.#onLost = onLost;
  }

  async requireAble(): Promise<void> {
    await this.isApplying();
  }

  /** Whether it applies a patch now, for whomever. @throws as {@link requireAble} */
  async isApplying(): Promise<boolean> {
    const limits = { timeoutMilliseconds: ANSWER_MILLISECONDS };
    return (await this.#ask(this.#link.call(HOST_ABLE, {}, limits))).applying;
  }

  async precheck({ patch, source }: HostRequest, options: HostCallOptions): Promise<HostPrecheck> {
    const asked = this.#stoppable(options, (call, limits) =>
      this.#link.call(HOST_PRECHECK, { call, patch, source }, limits),
    );
    return await this.#ask(asked, options.signal);
  }

  async apply(request: HostApplyRequest, { signal, onProgress }: HostCallOptions): Promise<HostApply> {
    const { patch, source, again } = request;
    let mayRun = false;
    const heard = (step: HostStep): void => {
      mayRun ||= MAY_RUN.has(step.phase);
      onProgress?.(step);
    };
    const asked = this.#stoppable({ signal, onProgress: heard }, (call, limits) =>
      this.#link.call(HOST_APPLY, { call, patch, source, again }, limits),
    ).catch((error: unknown) => {
      // The host went away, or told nonsense. The patch may run on; what came of it is told when the host is back.
      if (mayRun && isPatchVdiError(error)) return this.#lost(wordsOf(error));
      throw error;
    });
    const outcome: HostApply = await this.#ask(asked, signal);
    if (!('info' in outcome) || outcome.info.uuid === patch.uuid) return outcome;
    return this.#lost(
      `${this.#link.name} was asked for the patch ${patch.uuid}, and tells of ${outcome.info.uuid}`,
    );
  }

  #lost(words: string): HostApply {
    this.#onLost();
    return { kind: 'applyFailed', ending: { kind: 'lost', words }, output: '' };
  }

  async appliedPatches(): Promise<readonly AppliedPatch[]> {
    const limits = { timeoutMilliseconds: ANSWER_MILLISECONDS };
    const all = await this.#ask(this.#link.call(HOST_APPLIED, {}, limits));
    return all.map(({ uuid, info, appliedAt }) => ({
      uuid,
      info: info?.uuid === uuid ? info : undefined,
      appliedAt,
    }));
  }

  async sweep(): Promise<{ readonly unfinished: readonly UnfinishedPatch[] }> {
    return await this.#ask(this.#link.call(HOST_SWEEP, {}, { timeoutMilliseconds: ANSWER_MILLISECONDS }));
  }

  /** @throws PoolError HOST_OFFLINE when it has gone, INTERNAL_ERROR when it tells nonsense; the signal's reason */
  async #ask<Answer>(asked: Promise<Answer>, signal?: AbortSignal): Promise<Answer> {
    try {
      return await asked;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPatchVdiError(error)) throw error;
      if (lostConnection(error) !== undefined) throw new PoolError('HOST_OFFLINE', [this.host], error);
      throw new PoolError('INTERNAL_ERROR', [wordsOf(error)], error);
    }
  }

  /** A call that is told to stop when the signal says so. Its own end is waited for, unless that takes too long. */
  async #stoppable<Answer>(
    { signal, onProgress }: HostCallOptions,
    run: (call: string, limits: CallOptions<HostStep>) => Promise<Answer>,
  ): Promise<Answer> {
    signal?.throwIfAborted();
    const call = randomUUID();
    const [broken, ended] = [new AbortController(), new AbortController()];
    const onAbort = (): void => void this.#stop(call, broken, ended.signal);
    signal?.addEventListener('abort', onAbort, { once: true });
    const heard = (step: HostStep): void => {
      // The patch runs: nobody but itself knows where it may be stopped.
      if (step.phase === 'apply') ended.abort();
      onProgress?.(step);
    };
    const timeoutMilliseconds = PATCH_MILLISECONDS;
    try {
      return await run(call, { signal: broken.signal, timeoutMilliseconds, onProgress: heard });
    } finally {
      signal?.removeEventListener('abort', onAbort);
      ended.abort();
    }
  }

  /** Tells it to stop until it has heard, waits for it, and breaks the call off at last. Never rejects. */
  async #stop(call: string, broken: AbortController, ended: AbortSignal): Promise<void> {
    const pause = (milliseconds: number): Promise<void> =>
      sleep(milliseconds, undefined, { signal: ended }).catch(() => undefined);
    const limits = { signal: ended, timeoutMilliseconds: ANSWER_MILLISECONDS };
    let found = false;
    for (let tries = 0; tries < STOP_TRIES && !found && !ended.aborted; tries += 1) {
      ({ found } = await this.#link.call(HOST_STOP, { call }, limits).catch(() => ({ found: false })));
      if (!found) await pause(AGAIN_MILLISECONDS);
    }
    if (found) await pause(STOP_MILLISECONDS);
    if (ended.aborted) return;
    broken.abort(
      new PatchVdiError('sink', 'the host does not stop when it is told to', {
        context: { path: this.#link.name },
        leftBehind: UNKNOWN_OUTCOME,
      }),
    );
  }
}
