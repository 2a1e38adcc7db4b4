import { pino, type DestinationStream, type Logger } from 'pino';
import { isPatchVdiError } from '../errors.js';
import type { DeprecatedCall } from '../pool/patch-rules.js';
import { isPoolError } from '../pool/pool-error.js';
import type { RecoveryReport } from '../pool/recover.js';
import type { LogLevel } from './config-schema.js';
import type { RequestFacts } from './server.js';
import type { CallRecord } from './xen-api.js';

/** What the server tells whoever runs it. No secrets: what facts there are is in their types. */
export interface ServerLog {
  request(facts: RequestFacts): void;
  call(facts: CallRecord): void;
  deprecated(call: DeprecatedCall, advice: string): void;
  recovered(report: Partial<RecoveryReport>): void;
  warn(text: string): void;
  info(text: string): void;
}

/** The whole chain of causes, so that the log says what a client is not told. */
function problemOf(error: unknown): Readonly<Record<string, unknown>> {
  if (error === undefined) return {};
  const isDefect =
    !isPoolError(error) && !isPatchVdiError(error) && error instanceof Error && error.name !== 'HttpRefusal';
  return { error: causesOf(error), ...(isDefect ? { stack: error.stack } : {}) };
}

function causesOf(error: unknown): readonly string[] {
  const causes: string[] = [];
  let one: unknown = error;
  for (let depth = 0; depth < 5 && one !== undefined; depth += 1) {
    causes.push(wordsOf(one));
    one = one instanceof Error ? one.cause : undefined;
  }
  return causes;
}

function wordsOf(error: unknown): string {
  if (isPatchVdiError(error)) {
    const { found, expected, path } = error.context;
    const details = [path, found, expected === undefined ? undefined : `expected ${expected}`];
    return [error.message, ...details.filter((part) => part !== undefined)].join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}

const round = (milliseconds: number): number => Math.round(milliseconds * 10) / 10;

/** @param destination takes lines of JSON */
export function openLog(level: LogLevel, destination: DestinationStream): ServerLog {
  const log: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    request({ error, milliseconds, ...facts }) {
      const line = { ...facts, milliseconds: round(milliseconds), ...problemOf(error) };
      if (facts.status >= 500) log.error(line, 'request');
      else if (facts.status >= 400) log.warn(line, 'request');
      else log.info(line, 'request');
    },
    call({ milliseconds, cause, ...facts }) {
      const line = {
        ...facts,
        milliseconds: round(milliseconds),
        ...(cause === undefined ? {} : { causes: causesOf(cause) }),
      };
      if (facts.error === undefined) log.debug(line, 'call');
      else log.info(line, 'call');
    },
    deprecated: (call, advice) => log.warn({ method: call, advice }, 'deprecated'),
    recovered({ torn, ...lists }) {
      const found = Object.entries(lists).filter(([, list]) => list.length > 0);
      if (torn === undefined && found.length === 0) return;
      log.warn({ ...(torn === undefined ? {} : { torn }), ...Object.fromEntries(found) }, 'recovered');
    },
    warn: (text) => log.warn(text),
    info: (text) => log.info(text),
  };
}
