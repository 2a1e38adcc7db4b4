import { debuglog } from 'node:util';

/**
 * `NODE_DEBUG=patch-vdi` prints plans, tools and writes to stderr, one line each.
 * Off, a call costs one comparison: pass a function when the text itself is expensive.
 */
const log = debuglog('patch-vdi');

export function trace(topic: string, text: string | (() => string)): void {
  if (!log.enabled) return;
  log('%s: %s', topic, typeof text === 'string' ? text : text());
}

/** Whether {@link trace} prints; the CLI also shows stack traces then. */
export function traceEnabled(): boolean {
  return log.enabled;
}
