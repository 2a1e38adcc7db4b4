import type { Members } from '../hosts/members.js';
import type { Ref } from '../../pool/fields.js';
import type { Pool } from '../../pool/open-pool.js';
import { PoolError } from '../../pool/pool-error.js';
import type { Role } from '../account.js';
import type { RpcValue } from '../rpc-value.js';
import type { Session } from '../sessions.js';
import type { TaskOwners } from '../task-owners.js';
import type { EventSource } from './event-source.js';
import { readValue, type Parameter } from './parameters.js';
import type { RecordView } from './record-view.js';

/** What every method can use. */
export interface Services {
  readonly pool: Pool;
  readonly view: RecordView;
  readonly owners: TaskOwners;
  readonly events: EventSource;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The other hosts; undefined: there are none. */
  readonly members: Pick<Members, 'eject'> | undefined;
  readonly endSession: (session: Ref) => void;
  /** As `system.listMethods` answers. */
  readonly methodNames: () => readonly string[];
}

/** One call of a method. */
export interface Call extends Services {
  readonly session: Session;
  /** Aborted when nobody waits any more; of an `Async` call: when the server ends. */
  readonly signal: AbortSignal;
  /** Of an `Async` call. */
  readonly task: Ref | undefined;
}

type Values<Parameters extends readonly Parameter<unknown>[]> = {
  readonly [Index in keyof Parameters]: Parameters[Index] extends Parameter<infer Value> ? Value : never;
};

export interface MethodDefinition<Parameters extends readonly Parameter<unknown>[]> {
  /** Who may call it, as XAPI's data model has it. */
  readonly role: Role;
  /** Behind the session. */
  readonly parameters: Parameters;
  readonly run: (call: Call, values: Values<Parameters>) => Promise<RpcValue> | RpcValue;
}

/** A row of the table of methods. */
export interface Method {
  readonly role: Role;
  /** Checks the parameters. @returns the work; @throws PoolError MESSAGE_PARAMETER_COUNT_MISMATCH, FIELD_TYPE_ERROR */
  readonly prepare: (
    name: string,
    parameters: readonly RpcValue[],
  ) => (call: Call) => Promise<RpcValue> | RpcValue;
}

/** Methods by their names, such as `VDI.copy`. */
export type MethodTable = Readonly<Record<string, Method>>;

function readAll(
  name: string,
  expected: readonly Parameter<unknown>[],
  given: readonly RpcValue[],
): readonly unknown[] {
  const required = expected.filter(({ fallback }) => fallback === undefined).length;
  if (given.length < required || given.length > expected.length) {
    const counts = [String(required), String(given.length)];
    throw new PoolError('MESSAGE_PARAMETER_COUNT_MISMATCH', [name, ...counts]);
  }
  return expected.map((parameter, index) => {
    const value = given[index];
    return value === undefined ? parameter.fallback?.value : readValue(parameter, value);
  });
}

export function method<const Parameters extends readonly Parameter<unknown>[]>({
  role,
  parameters: expected,
  run,
}: MethodDefinition<Parameters>): Method {
  return {
    role,
    prepare: (name, given) => {
      const values = readAll(name, expected, given) as Values<Parameters>;
      return (call) => run(call, values);
    },
  };
}
