import type { Method } from '../rpc/method.js';
import type { RecordView } from '../rpc/record-view.js';
import { eventMethods } from './event-methods.js';
import { getters } from './getters.js';
import { patchMethods } from './patch-methods.js';
import { poolMethods } from './pool-methods.js';
import { sessionMethods } from './session-methods.js';
import { setters } from './setters.js';
import { taskMethods } from './task-methods.js';
import { vdiMethods } from './vdi-methods.js';

/** Every method that a session is needed for, by its name. */
export function methodTable(view: RecordView): ReadonlyMap<string, Method> {
  const tables = [
    getters(view),
    setters(),
    sessionMethods,
    taskMethods,
    vdiMethods,
    poolMethods,
    patchMethods,
    eventMethods,
  ];
  return new Map(tables.flatMap((table) => Object.entries(table)));
}
