import { setTimeout as sleep } from 'node:timers/promises';
import { PatchVdiError, invariant } from '../errors.js';
import { WatchedSink } from '../io/idle-timeout.js';
import type { Sink } from '../io/sink.js';
import { WritableSink } from '../io/stream-sink.js';
import { trace } from '../trace.js';
import { KIB } from '../units.js';
import type { XenConnection } from './connection.js';
import type { OpenedPut } from './open-put.js';
import { UNKNOWN_OUTCOME, causeWords, serverFailure } from './server-failure.js';
import { followTask, taskWord } from './tasks.js';
import type { TransferFormat } from './vhd-refusal.js';

const PATH = '/import_raw_vdi';
const OPERATION = `PUT ${PATH}`;
/** What a host says after its 200 is kept as far as this: only the head of another answer in it means anything. */
const MAX_SAID_BYTES = 64 * KIB;
/** After the 200 the body may hold another answer, as it stands. */
/** Where one may have begun that goes on in the next bytes. */
const OVERLAP_CHARACTERS = 16;
const LATER_ANSWER = /HTTP\/1\.[01] ([45]\d\d[^\r\n]{0,100})/;
/** Looks at a task while bytes go out; between them, so many of the connection's polls. */
const POLLS_BETWEEN_LOOKS = 10;

/** The body of one import. What breaks it is explained by the task, which knows better why. */
class ImportBody extends WritableSink {
  readonly #put: OpenedPut;
  readonly #stop: AbortController;
  readonly #explain: (cause: Error) => Promise<PatchVdiError>;
  #said = '';
  /** Where the later answer begins, as far as it was looked at. */
  #laterAt: number | undefined;
  #allSent = false;

  constructor(
    name: string,
    put: OpenedPut,
    stop: AbortController,
    explain: (cause: Error) => Promise<PatchVdiError>,
  ) {
    super(name, put.request, stop.signal);
    this.#put = put;
    this.#stop = stop;
    this.#explain = explain;
    const { response } = put;
    response.on('data', (part: Buffer) => {
      this.#listen(part);
      if (this.laterAnswer !== undefined && !this.#allSent) this.fail(new Error(this.laterAnswer));
    });
    response.on('error', () => undefined);
    response.once('close', () => {
      if (!this.#allSent) this.fail(new Error('the server has closed the connection'));
    });
  }

  /** Once over everything: a host may say it byte by byte. */
  #listen(part: Buffer): void {
    const { length } = this.#said;
    if (length >= MAX_SAID_BYTES) return;
    this.#said += part.toString('latin1', 0, MAX_SAID_BYTES);
    const from = Math.max(0, length - OVERLAP_CHARACTERS);
    const index = this.#said.slice(from).search(LATER_ANSWER);
    if (index >= 0) this.#laterAt ??= from + index;
  }

  /** Another answer that came after the first one: `500 Internal Server Error`. */
  get laterAnswer(): string | undefined {
    return this.#laterAt === undefined ? undefined : LATER_ANSWER.exec(this.#said.slice(this.#laterAt))?.[1];
  }

  /** The task has failed, or whatever else is known of no connection. */
  failWith(cause: Error): void {
    this.fail(cause);
  }

  protected override explain(cause: Error): Promise<PatchVdiError> {
    return this.#explain(cause);
  }

  /** A source that is silent meanwhile must not hide it. */
  protected override failed(error: PatchVdiError): void {
    super.failed(error);
    this.#stop.abort(error);
  }

  override async commit(outputLength: number): Promise<void> {
    await super.commit(outputLength);
    this.#allSent = true;
    this.#put.request.end();
  }

  override async discard(): Promise<void> {
    this.#allSent = true;
    await super.discard();
    this.#put.request.on('error', () => undefined).destroy();
  }
}

/** What an import has left in its VDI; the whole image, or a part of a raw one, may mount. */
export type ImportedContents = 'no image' | 'part of a raw image' | 'whole';

/** How far an import is. Called from the hot path: keep it short. */
export interface ImportWatch {
  /** Bytes of the image that were handed to the connection, of all that are to go. */
  readonly sent: (bytes: number, totalBytes: number) => void;
  /** All has gone out; the pool works on. @param fraction of its task, 0 to 1 */
  readonly waiting: (fraction: number) => void;
}

export interface ImportSinkOptions {
  readonly connection: XenConnection;
  /** Reference of the VDI. */
  readonly vdi: string;
  /** Reference of a task that was made for this. */
  readonly task: string;
  readonly format: TransferFormat;
  /** Bytes of the image that is to be built. */
  readonly imageBytes: number;
  /** For messages: the SR and the VDI. */
  readonly name: string;
  readonly stop: AbortController;
  readonly watch?: ImportWatch | undefined;
}

/**
 * `PUT /import_raw_vdi`: the image goes into a VDI of a pool. The length is exact and never chunked. The host's 200
 * comes before the body, and means nothing more; that it went well is the task's word alone.
 */
export class ImportSink implements Sink {
  readonly name: string;
  readonly seekable = false;
  readonly imageBytes: number;
  readonly #options: ImportSinkOptions;
  readonly #watch = new AbortController();
  #body: ImportBody | undefined;
  /** The body, given up when it takes nothing for too long. The task has a patience of its own. */
  #watched: WatchedSink | undefined;
  #sent = 0;
  #outputLength: number | undefined;
  #sealed = false;

  constructor(options: ImportSinkOptions) {
    this.#options = options;
    this.name = options.name;
    this.imageBytes = options.imageBytes;
  }

  async begin(outputLength: number): Promise<void> {
    const { connection, vdi, task, format, stop } = this.#options;
    const query = { vdi, format, task_id: task };
    this.#outputLength = outputLength;
    const put = await connection.openPut(PATH, query, outputLength, stop.signal);
    trace('xenapi', () => `${put.address.name} takes ${outputLength} bytes`);
    this.#body = new ImportBody(this.name, put, stop, (cause) => this.#explain(cause));
    this.#watched = new WatchedSink(this.#body, connection.timeouts.stall, stop);
    void this.#watchTask(this.#body);
  }

  /** While bytes go out: a task that fails although its connection stands; and the session is kept alive. */
  async #watchTask(body: ImportBody): Promise<void> {
    const { connection, task } = this.#options;
    const { signal } = this.#watch;
    for (;;) {
      await sleep(connection.timeouts.poll * POLLS_BETWEEN_LOOKS, undefined, { signal, ref: false }).catch(
        () => undefined,
      );
      if (signal.aborted) return;
      const word = await taskWord(connection, task, OPERATION);
      if (word !== undefined && !signal.aborted) return body.failWith(word);
    }
  }

  /** The task's word on what broke the connection: it may take the host a moment to say it. */
  async #explain(cause: Error): Promise<PatchVdiError> {
    const { connection, task } = this.#options;
    const until = performance.now() + connection.timeouts.farewell;
    let word = await taskWord(connection, task, OPERATION);
    while (word === undefined && !this.#watch.signal.aborted && performance.now() < until) {
      await sleep(connection.timeouts.poll);
      word = await taskWord(connection, task, OPERATION);
    }
    if (word !== undefined) {
      return new PatchVdiError('sink', 'the pool has given the import up', { cause: word });
    }
    return serverFailure(connection.address, 'the import broke off', {
      found: `${causeWords(cause)}, after ${this.#sent} bytes`,
      expected: 'a host that takes all of the image',
      hint: 'run it again; the log of the host that has the SR says more',
      leftBehind: UNKNOWN_OUTCOME,
      cause,
    });
  }

  /** What the VDI may hold: a raw image starts with its superblock, a VHD ends with it. */
  get contents(): ImportedContents {
    if (this.#sealed) return 'whole';
    return this.#options.format === 'raw' && this.#sent > 0 ? 'part of a raw image' : 'no image';
  }

  #begun(): WatchedSink {
    invariant(this.#watched !== undefined, 'the length of an import is known before its first byte');
    return this.#watched;
  }

  #count(bytes: number): void {
    this.#sent = bytes;
    const { watch } = this.#options;
    if (this.#outputLength !== undefined) watch?.sent(bytes, this.#outputLength);
    if (bytes === this.#outputLength) this.#sealed = true;
  }

  write(bytes: Uint8Array, position: number, done?: () => void): void {
    this.#count(position + bytes.length);
    this.#begun().write(bytes, position, done);
  }

  writeZeros(position: number, length: number): void {
    this.#count(position + length);
    this.#begun().writeZeros(position, length);
  }

  /* jscpd:ignore-start -- passed on, as HttpSink passes it on: the interface makes them alike */
  drained(): Promise<void> | undefined {
    return this.#begun().drained();
  }

  flush(): Promise<void> {
    return this.#begun().flush();
  }
  /* jscpd:ignore-end */

  /** @throws XenApiError when the task fails; PatchVdiError `sink` when it does not end */
  async commit(outputLength: number): Promise<void> {
    await this.#begun().commit(outputLength);
    this.#watch.abort();
    const body = this.#body;
    invariant(body !== undefined, 'what is watched is there');
    const { connection, task, watch } = this.#options;
    const { stall, farewell } = connection.timeouts;
    try {
      // A host that says no on the connection has nothing more to do for the task.
      watch?.waiting(0);
      await followTask(connection, task, OPERATION, {
        onFraction: watch?.waiting,
        stall: () => (body.laterAnswer === undefined ? stall : Math.min(stall, farewell)),
      });
    } catch (error) {
      const said = body.laterAnswer;
      if (said === undefined || !(error instanceof PatchVdiError)) throw error;
      throw serverFailure(connection.address, 'the host has given the import up', {
        found: said,
        expected: 'nothing after its first answer, 200',
        hint: "the host's log says more",
        leftBehind: UNKNOWN_OUTCOME,
        cause: error,
      });
    }
  }

  async discard(): Promise<void> {
    this.#watch.abort();
    await this.#watched?.discard();
  }
}
