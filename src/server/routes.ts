import type { Account, Role } from './account.js';
import type { Exchange } from './exchange.js';
import type { Parameters } from './parameters.js';

/** A request whose sender is known and may do what he asks for. */
export interface Request {
  readonly exchange: Exchange;
  readonly parameters: Parameters;
  readonly account: Account;
}

/** What a path does, and who may. */
export type Route =
  | {
      readonly methods: readonly ('GET' | 'HEAD' | 'PUT' | 'POST')[];
      readonly path: string;
      readonly needs: Role;
      /** Its body goes into a disk: few of them at once. */
      readonly isUpload?: true;
      /** Sends the answer, or throws; then nothing may have been sent but a head. */
      readonly handle: (request: Request) => Promise<void>;
    }
  | {
      readonly methods: readonly ('GET' | 'HEAD' | 'PUT' | 'POST')[];
      readonly path: string;
      /** Calls say in their body who makes them; that the server lives may be seen by all. */
      readonly needs: 'nothing';
      readonly isUpload?: never;
      readonly handle: (exchange: Exchange) => Promise<void>;
    };
