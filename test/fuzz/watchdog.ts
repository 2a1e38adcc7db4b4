import { Worker } from 'node:worker_threads';

/** Ends the process when a case takes too long, also when it never gives up the thread: a hang must not be a hang. */
export interface Watchdog {
  /** A case begins; what it is called is printed if it does not end. */
  start(title: string): void;
  stop(): Promise<void>;
}

const TITLE_BYTES = 256;
/** Plain JavaScript, for it runs in a worker of its own: the thread that it watches may be stuck. */
export const WATCHDOG_PROGRAM = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const { words, title, limitMilliseconds } = workerData;
let last = -1;
let since = Date.now();
setInterval(() => {
  const current = Atomics.load(words, 0);
  if (current !== last) { last = current; since = Date.now(); return; }
  if (Date.now() - since < limitMilliseconds) return;
  const text = Buffer.from(title).toString('utf8').replace(/\\0.*/s, '');
  writeSync(2, '\\nthe watchdog ends this process: ' + text + ' takes more than ' + limitMilliseconds + ' ms\\n');
  process.kill(process.pid, 'SIGKILL');
}, 250);
`;

export function startWatchdog(limitMilliseconds: number): Watchdog {
  const words = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const title = new Uint8Array(new SharedArrayBuffer(TITLE_BYTES));
  const worker = new Worker(WATCHDOG_PROGRAM, {
    eval: true,
    workerData: { words, title, limitMilliseconds },
  });
  worker.unref();
  return {
    start(text) {
      title.fill(0);
      title.set(Buffer.from(text).subarray(0, TITLE_BYTES - 1));
      Atomics.add(words, 0, 1);
    },
    async stop() {
      await worker.terminate();
    },
  };
}
