import { PoolError } from '../../pool/pool-error.js';

/** A moment in the life of the pool. */
export interface EventToken {
  readonly generation: number;
  /** The run of the database that counted it. */
  readonly incarnation: string;
}

const GENERATION_DIGITS = 20;
const TOKEN = /^(\d{20}),([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** The generation comes first with all its zeros: clients compare tokens as texts (`event.inject`). */
export function formatToken({ generation, incarnation }: EventToken): string {
  return `${String(generation).padStart(GENERATION_DIGITS, '0')},${incarnation}`;
}

/**
 * @returns undefined for the empty token, which is the beginning
 * @throws PoolError EVENT_FROM_TOKEN_PARSE_FAILURE
 */
export function parseToken(token: string): EventToken | undefined {
  if (token === '') return undefined;
  const [, digits = '', incarnation = ''] = TOKEN.exec(token) ?? [];
  const generation = Number(digits);
  if (digits === '' || !Number.isSafeInteger(generation)) {
    throw new PoolError('EVENT_FROM_TOKEN_PARSE_FAILURE', [token.slice(0, 64)]);
  }
  return { generation, incarnation };
}
