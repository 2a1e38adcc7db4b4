/** A time as the XenAPI writes it: `20261121T18:16:00Z`. */
export class DateTime {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** An integer of 32 bits, of which the XenAPI has only the counts of `event.from`: its others travel as strings. */
export class Int32 {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/**
 * What goes into a call and comes out of one, whatever it travels as. A `number` is a float and a `bigint` an integer,
 * so that no encoder has to know what a method answers.
 */
export type RpcValue =
  | string
  | boolean
  | number
  | bigint
  | DateTime
  | Int32
  | readonly RpcValue[]
  | RpcStruct;

export interface RpcStruct {
  readonly [key: string]: RpcValue;
}

export function isRpcArray(value: RpcValue): value is readonly RpcValue[] {
  return Array.isArray(value);
}

export function isRpcStruct(value: RpcValue): value is RpcStruct {
  return (
    typeof value === 'object' &&
    !Array.isArray(value) &&
    !(value instanceof DateTime) &&
    !(value instanceof Int32)
  );
}

/** What a call returns that returns nothing. */
export const VOID = '';
