import * as v from 'valibot';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { PatchVdiError } from '../../errors.js';
import { StallClock, describeSilence } from '../../io/idle-timeout.js';
import { IterableSource } from '../../io/iterable-source.js';
import { PoolError, type PoolErrorCode } from '../../pool/pool-error.js';
import type { DiskBytes } from '../../pool/storage.js';
import { printable } from '../../signature/printable.js';
import { answerTo, brokenConnection, limitRequest, openRequest, type Server } from '../../xenapi/exchange.js';
import { getStream, type ServerDownload } from '../../xenapi/get-stream.js';
import { putStream } from '../../xenapi/put-stream.js';
import { refusal } from '../../xenapi/read-answer.js';
import { UNKNOWN_OUTCOME, serverFailure } from '../../xenapi/server-failure.js';
import { isXenApiError } from '../../xenapi/xen-api-error.js';
import { readLines } from './call-lines.js';
import { decodeRuns, encodeRuns, type DiskPart } from './disk-stream.js';
import {
  PASSED_ON,
  SILENCE_MILLISECONDS,
  callPath,
  outcomeSchema,
  type InternalCall,
} from './internal-call.js';
import { channelBinding, proofField, type Sender } from './proof.js';

/** Where the streams of disks are. */
export const DISK_PATH = '/internal/disk';
/** Where a slave gets the patches of its master. */
export const PATCH_PATH = '/internal/patch';

/** The other side of a link, and how it is talked to. It may change: certificates are renewed. */
export interface Peer {
  /** With the certificate that it must have. */
  readonly server: Server;
  /** What we are to it. */
  readonly sender: Sender;
  /** Of the slave, whichever side that is. */
  readonly hostUuid: string;
  readonly key: Uint8Array;
}

export interface CallLimits {
  readonly signal?: AbortSignal | undefined;
  /** Until all of the answer is there; default: as long as the other side shows that it is alive. */
  readonly timeoutMilliseconds?: number | undefined;
}

export interface CallOptions<Progress> extends CallLimits {
  readonly onProgress?: ((step: Progress) => void) | undefined;
}

/** A disk of another host. */
export interface RemoteDiskPlace extends DiskPart {
  readonly sr: string;
  readonly vdi: string;
}

/** A whole disk is written at a time. */
export type RemoteDiskTarget = Omit<RemoteDiskPlace, 'start'>;

/** What another host's error may say here. */
function passedOn(code: string, parameters: readonly string[], name: string): PoolError {
  const words = [code, ...parameters].map((word) => printable(word, 200)).join(', ');
  if (!PASSED_ON.has(code as PoolErrorCode)) {
    return new PoolError('INTERNAL_ERROR', [`${name} answers ${words}`]);
  }
  return new PoolError(code as PoolErrorCode, parameters);
}

/**
 * The way to another host of the pool: to the slave from the master, to the master from a slave. Every request has a
 * connection of its own, to a server with the pinned certificate, and carries a proof that belongs to that connection.
 *
 * All methods throw PoolError for what the other host refuses; PatchVdiError `sink` for one that cannot be reached or
 * believed; the reason of the signal.
 */
export class HostLink {
  readonly #peer: () => Peer;

  constructor(peer: () => Peer) {
    this.#peer = peer;
  }

  /** For messages: `https://host:8443`. */
  get name(): string {
    return this.#peer().server.address.name;
  }

  #proof(method: string) {
    const { server, key, sender, hostUuid } = this.#peer();
    return (socket: Parameters<typeof channelBinding>[0], target: string) => {
      const channel = channelBinding(socket);
      if (channel === undefined) {
        throw serverFailure(server.address, 'the host cannot be talked to', {
          found: 'a connection without TLS 1.3',
          expected: 'TLS 1.3',
        });
      }
      return { Authorization: proofField(key, { sender, hostUuid, method, target, channel }) };
    };
  }

  /** Makes a call, and checks what comes back. */
  async call<
    Request extends v.GenericSchema,
    Answer extends v.GenericSchema,
    Progress extends v.GenericSchema,
  >(
    { name, answer, progress }: InternalCall<Request, Answer, Progress>,
    parameters: v.InferInput<Request>,
    { onProgress, ...limits }: CallOptions<v.InferOutput<Progress>> = {},
  ): Promise<v.InferOutput<Answer>> {
    const { server } = this.#peer();
    const body = Buffer.from(JSON.stringify(parameters));
    const head = {
      method: 'POST',
      path: callPath(name),
      headers: { 'Content-Type': 'application/json', 'Content-Length': String(body.length) },
      headersFor: this.#proof('POST'),
    } as const;
    const onLine = (line: string): void => {
      const step = v.safeParse(progress, stepOf(line), { abortEarly: true });
      if (step.success) onProgress?.(step.output);
    };
    const text = await this.#exchange(server, name, limits, onLine, async () => {
      const request = await openRequest(server, head, limits.signal);
      return { request, send: () => void request.end(body) };
    });
    return this.#result(text, name, answer);
  }

  async #exchange(
    server: Server,
    operation: string,
    { signal, timeoutMilliseconds = MAX_CALL_MILLISECONDS }: CallLimits,
    onLine: (line: string) => void,
    open: () => Promise<{ readonly request: ClientRequest; readonly send: () => void }>,
  ): Promise<string> {
    const silent = (found: string): PatchVdiError =>
      serverFailure(server.address, `the host does not answer: ${operation}`, {
        found,
        leftBehind: UNKNOWN_OUTCOME,
      });
    const { request, send } = await open();
    const tooLate = (): Error => silent(`no complete answer after ${timeoutMilliseconds / 1000} seconds`);
    const limit = limitRequest(request, timeoutMilliseconds, tooLate, signal);
    let stalled: Error | undefined;
    const clock = new StallClock(SILENCE_MILLISECONDS, () => {
      stalled = silent(describeSilence(SILENCE_MILLISECONDS));
      request.destroy(stalled);
    });
    try {
      send();
      clock.start();
      const response = await answerTo(request);
      clock.start();
      if (response.statusCode !== 200) {
        throw await refusal(response, { address: server.address, operation, secrets: [] });
      }
      return await readLines(
        watchedChunks(response, () => clock.start()),
        onLine,
      );
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      if (isXenApiError(error)) throw passedOn(error.code, error.parameters, server.address.name);
      const reached = limit.reached ?? stalled ?? error;
      throw reached instanceof PatchVdiError
        ? reached
        : brokenConnection(server, operation, reached, UNKNOWN_OUTCOME);
    } finally {
      limit.stop();
      clock.dispose();
      request.destroy();
    }
  }

  #result<Answer extends v.GenericSchema>(text: string, name: string, schema: Answer): v.InferOutput<Answer> {
    const { address } = this.#peer().server;
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    const outcome = v.safeParse(outcomeSchema, json, { abortEarly: true });
    if (outcome.success && 'error' in outcome.output) {
      const { code, parameters } = outcome.output.error;
      throw passedOn(code, parameters, address.name);
    }
    const given = outcome.success && 'result' in outcome.output ? outcome.output.result : undefined;
    const parsed = v.safeParse(schema, given, { abortEarly: true });
    if (parsed.success) return parsed.output;
    const [issue] = parsed.issues;
    throw serverFailure(address, `the host's answer makes no sense: ${name}`, {
      found: printable(issue.received, 60),
      expected: `${issue.expected ?? issue.message}${issuePlace(issue)}`.slice(0, 160),
    });
  }

  /** What part of a disk holds besides zeros. Nothing is read ahead of whoever asks but what the network holds. */
  async *readRuns({ sr, vdi, start, end }: RemoteDiskPlace, signal?: AbortSignal): AsyncGenerator<DiskBytes> {
    const { server } = this.#peer();
    const query = { sr, vdi, start: String(start), end: String(end) };
    const headersFor = this.#proof('GET');
    try {
      const timeouts = { ...server.timeouts, stall: SILENCE_MILLISECONDS };
      const stream = await getStream(
        { ...server, timeouts },
        { path: DISK_PATH, query, headersFor, secrets: [], signal },
      );
      try {
        yield* decodeRuns(stream.chunks, { start, end }, server.address.name);
      } finally {
        stream.close();
      }
    } catch (error) {
      throw this.#translated(error);
    }
  }

  /** Replaces the content of a disk by runs in ascending order, zeros between them. */
  async writeRuns(
    { sr, vdi, end }: RemoteDiskTarget,
    runs: AsyncIterable<DiskBytes>,
    signal?: AbortSignal,
  ): Promise<void> {
    const { server } = this.#peer();
    // What breaks the runs is what is to be told, not that the upload broke off.
    let broken: { readonly error: unknown } | undefined;
    async function* watched(): AsyncGenerator<DiskBytes> {
      try {
        yield* runs;
      } catch (error) {
        broken = { error };
        throw error;
      }
    }
    const source = new IterableSource('the disk', encodeRuns(watched(), { start: 0, end }), undefined);
    const query = { sr, vdi, end: String(end) };
    const headersFor = this.#proof('PUT');
    try {
      await putStream(server, source, { path: DISK_PATH, query, headersFor, secrets: [], signal });
    } catch (error) {
      throw broken === undefined ? this.#translated(error) : broken.error;
    }
  }

  /** From the master: the bytes of a patch. Closed by the caller. */
  async openPatch(uuid: string, signal?: AbortSignal): Promise<ServerDownload> {
    const { server } = this.#peer();
    const headersFor = this.#proof('GET');
    try {
      return await getStream(server, { path: PATCH_PATH, query: { uuid }, headersFor, secrets: [], signal });
    } catch (error) {
      throw this.#translated(error);
    }
  }

  #translated(error: unknown): unknown {
    return isXenApiError(error) ? passedOn(error.code, error.parameters, this.name) : error;
  }
}

/** What a timer takes (Node, `setTimeout`). */
const MAX_CALL_MILLISECONDS = 2_147_483_647;

/** @throws Error when the connection breaks off before the end of the answer */
async function* watchedChunks(response: IncomingMessage, onChunk: () => void): AsyncGenerator<Buffer> {
  for await (const chunk of response as AsyncIterable<Buffer>) {
    onChunk();
    yield chunk;
  }
  if (!response.complete) throw new Error('the answer broke off');
}

/** What a line says of the progress; undefined for one that says nothing. */
function stepOf(line: string): unknown {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'progress' in value ? value.progress : undefined;
  } catch {
    return undefined;
  }
}

function issuePlace(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  return path === null ? '' : ` as ${printable(path, 80)}`;
}
