import { createWriteStream } from 'node:fs';
import { startCli, type Ended, type StartOptions, type Started } from './cli.js';
import { makePipe } from './pipes.js';
import type { Workspace } from './workspace.js';

/** A run of the command line whose standard input is a pipe that the test writes to when it likes. */
export interface Fed extends Started {
  /** Resolves when the pipe has taken the bytes; false when nobody reads them any more. */
  send(bytes: Uint8Array): Promise<boolean>;
  /** The end of the upload. Without it the source stays silent, until the test ends. */
  end(): void;
}

export function startFed(work: Workspace, args: readonly string[], options: StartOptions = {}): Fed {
  const pipe = makePipe();
  const writer = createWriteStream('', { fd: pipe.writeFd });
  let broken = false;
  writer.on('error', () => {
    broken = true;
  });
  const started = startCli(work, args, { ...options, stdin: pipe.readFd });
  pipe.closeRead();
  void started.ended.then(() => writer.destroy());
  return {
    ...started,
    send: (bytes) =>
      new Promise((done) => {
        if (broken) done(false);
        else writer.write(bytes, (error) => done(error === null || error === undefined));
      }),
    end: () => void writer.end(),
  };
}

/** Cuts bytes into pieces of these sizes, in turn. */
export function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Sends a whole upload in pieces, then the end; returns how the run ended. */
export async function feed(fed: Fed, parts: Iterable<Uint8Array>): Promise<Ended> {
  for (const part of parts) if (!(await fed.send(part))) break;
  fed.end();
  return await fed.ended;
}
