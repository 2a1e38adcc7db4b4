import prettyBytes from 'pretty-bytes';
import { MIB } from '../units.js';
import { UNSAFE_CHARACTERS, jsonEscapes, visible } from './text.js';

/** A line of the server's log, as it comes. */
interface LogLine {
  readonly level: number;
  readonly time: string;
  readonly msg?: string;
  readonly [field: string]: unknown;
}

/** pino's. */
const LEVELS: ReadonlyMap<number, string> = new Map([
  [20, 'debug'],
  [30, 'info'],
  [40, 'warn'],
  [50, 'error'],
  [60, 'fatal'],
]);

const MAX_CHARACTERS = 2000;

function requestText({
  method,
  path,
  status,
  user,
  address,
  bytesIn,
  bytesOut,
  milliseconds,
}: LogLine): string {
  const moved = [
    typeof bytesIn === 'number' && bytesIn > 0 ? `${prettyBytes(bytesIn, { binary: true })} in` : '',
    typeof bytesOut === 'number' && bytesOut > 0 ? `${prettyBytes(bytesOut, { binary: true })} out` : '',
    typeof milliseconds === 'number' ? `${(milliseconds / 1000).toFixed(2)} s` : '',
  ].filter((part) => part !== '');
  const who = typeof user === 'string' ? `${user}@${String(address)}` : String(address);
  return `${String(method)} ${String(path)} ${String(status)} ${who}, ${moved.join(', ')}`;
}

function callText({ method, account, address, error, milliseconds }: LogLine): string {
  const seconds = typeof milliseconds === 'number' ? `, ${(milliseconds / 1000).toFixed(2)} s` : '';
  const who = typeof account === 'string' ? `${account}@${String(address)}` : String(address);
  return `${String(method)} ${who}${seconds}${typeof error === 'string' ? `: ${error}` : ''}`;
}

function restOf({ level: _level, time: _time, msg, ...fields }: LogLine): string {
  const texts = Object.entries(fields).map(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `${name} ${text}`;
  });
  return [msg, ...texts].join(' ');
}

function eventText(line: LogLine): string {
  const error = Array.isArray(line['error']) ? `: ${line['error'].join(' <- ')}` : '';
  if (line.msg === 'request') return requestText(line) + error;
  if (line.msg === 'call') return callText(line);
  return restOf(line);
}

/** A JSON line of the log as people read it on a terminal. */
export function logText(json: string): string {
  const line = JSON.parse(json) as LogLine;
  const time = new Date(line.time).toTimeString().slice(0, 8);
  const level = LEVELS.get(line.level) ?? String(line.level);
  return visible(`${time} ${level.padEnd(5)} ${eventText(line)}`, MAX_CHARACTERS);
}

/** What may wait for a reader of the log that has stopped reading. */
const MAX_WAITING_BYTES = 4 * MIB;

/** Where the log goes: a pipe, a file, a terminal. */
export type LogStream = Pick<NodeJS.WritableStream, 'write'> & { readonly writableLength: number };

/**
 * A line of the log for programs, safe on a terminal, too: JSON leaves C1 controls and text direction as they are, and
 * the name of a method is whatever a client sends.
 */
export function plainLine(json: string): string {
  return json.replaceAll(UNSAFE_CHARACTERS, jsonEscapes);
}

/**
 * Writes the log. A reader that has stopped (a full journal, a terminal on hold) must not fill the memory of the
 * server: then lines are left out, and the next one that goes out says how many.
 *
 * @param words a line of JSON, with its end, as it is to be written
 */
export function logWriter(stream: LogStream, words: (json: string) => string): (json: string) => void {
  let leftOut = 0;
  return (json) => {
    if (stream.writableLength > MAX_WAITING_BYTES) {
      leftOut += 1;
      return;
    }
    if (leftOut > 0) {
      const time = new Date().toISOString();
      const msg = `${leftOut} lines of the log were left out: nobody read them`;
      stream.write(words(`${JSON.stringify({ level: 40, time, msg })}\n`));
      leftOut = 0;
    }
    stream.write(words(json));
  };
}
