import { KIB, MIB } from '../units.js';

/** What the server allows; every figure against somebody who wants more than is good for the others. */
export interface ServerLimits {
  /** Open connections, of all clients. */
  readonly connections: number;
  /** Requests under way, of one client (address), waiting ones (`event.from`) too. */
  readonly requestsPerClient: number;
  /** Requests whose body goes into a disk, of all clients. */
  readonly uploadsAtOnce: number;
  /** From the connection, or the request before, to the end of the headers; also for the TLS handshake. */
  readonly headerMilliseconds: number;
  /** From the headers to the end of a call's body. */
  readonly callMilliseconds: number;
  /** Bytes of a call's body. */
  readonly callBytes: number;
  /** How long nothing may come, or go, in the middle of a large body. */
  readonly idleMilliseconds: number;
  /** What must come, or go, in the time above while the server waits for nothing else. */
  readonly bytesPerIdleTime: number;
}

/** 8 uploads next to 50 readers of one machine are no attack. */
export const DEFAULT_LIMITS: ServerLimits = {
  connections: 512,
  requestsPerClient: 128,
  uploadsAtOnce: 16,
  headerMilliseconds: 10_000,
  callMilliseconds: 30_000,
  callBytes: MIB,
  idleMilliseconds: 60_000,
  bytesPerIdleTime: 64 * KIB,
};
