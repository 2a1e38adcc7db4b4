import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { PoolError } from '../../pool/pool-error.js';

/*
 * How hosts of a pool prove to each other who they are.
 *
 * The master keeps the pool secret and gives each slave, when it joins, a key that is made of it and of the slave's own
 * identity: so no slave can pass for the master before another slave, or for another slave. Every request carries an
 * HMAC under that key over who sends it, what it asks for, and the channel binding of the very TLS connection that it
 * travels on (`tls-exporter`, RFC 9266). Both ends of a TLS connection compute the same binding and nobody else has one
 * like it: a proof that was seen elsewhere is good for nothing, without clocks or lists of nonces; nor can anybody
 * stand in between. What the request brings besides is protected by that connection. The answer needs no proof: the
 * server's certificate is pinned.
 *
 * Why no client certificates: they would do the same, but then a host whose certificate is renewed could not tell so.
 */

/** Of the pool secret, of a join token and of a host's key; all are random or look like it. */
export const SECRET_BYTES = 32;

/** RFC 9266, section 2. */
const BINDING_LABEL = 'EXPORTER-Channel-Binding';
const BINDING_BYTES = 32;

const SCHEME = 'Patch-Vdi-Host';
const CREDENTIALS = /^Patch-Vdi-Host ([0-9a-f-]{36}) ([0-9a-f]{64})$/;

/** Who sends: a proof of one is none of the other. */
export type Sender = 'master' | 'slave';

export interface ProofFacts {
  readonly sender: Sender;
  /** Of the slave, whichever way the request goes. */
  readonly hostUuid: string;
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** See {@link channelBinding}. */
  readonly channel: Uint8Array;
}

/** Each part with its length, so that no two lists give the same bytes. */
function hmac(key: Uint8Array, parts: readonly (string | Uint8Array)[]): Buffer {
  const digest = createHmac('sha256', key);
  for (const part of parts) {
    const bytes = Buffer.from(part);
    digest.update(`${bytes.length}:`).update(bytes);
  }
  return digest.digest();
}

/** The key of one membership of one host: a host that joins again has another one. */
export function hostKey(poolSecret: Uint8Array, hostUuid: string, joinToken: string): Buffer {
  return hmac(poolSecret, ['patch-vdi host key 1', hostUuid, joinToken]);
}

function proofOf(key: Uint8Array, { sender, hostUuid, method, target, channel }: ProofFacts): Buffer {
  return hmac(key, ['patch-vdi proof 1', sender, hostUuid, method, target, channel]);
}

/** The field `Authorization` of a request. */
export function proofField(key: Uint8Array, facts: ProofFacts): string {
  return `${SCHEME} ${facts.hostUuid} ${proofOf(key, facts).toString('hex')}`;
}

/** What no other connection has; undefined for one that has none. */
export function channelBinding(socket: Socket): Buffer | undefined {
  // Below 1.3 it is not unique (RFC 9266, section 4.2).
  if (!(socket instanceof TLSSocket) || socket.getProtocol() !== 'TLSv1.3') return undefined;
  return socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0));
}

export interface ProofCheck {
  /** Who may send here. */
  readonly sender: Sender;
  /** The key of a host; undefined for one that is not known. */
  readonly keyOf: (hostUuid: string) => Uint8Array | undefined;
}

/** Compared in place of the key of a host that nobody knows, so that it takes as long. */
const NO_KEY = new Uint8Array(SECRET_BYTES);

/**
 * @param authorization the field of the request
 * @returns the UUID of the host that is meant by the proof
 * @throws PoolError SESSION_AUTHENTICATION_FAILED, whatever the reason
 */
export function checkProof(
  authorization: string | undefined,
  facts: Pick<ProofFacts, 'method' | 'target'>,
  socket: Socket,
  { sender, keyOf }: ProofCheck,
): string {
  const [, hostUuid, given] = CREDENTIALS.exec(authorization ?? '') ?? [];
  const channel = channelBinding(socket);
  if (hostUuid === undefined || given === undefined || channel === undefined) {
    throw new PoolError('SESSION_AUTHENTICATION_FAILED');
  }
  const key = keyOf(hostUuid);
  const expected = proofOf(key ?? NO_KEY, { ...facts, sender, hostUuid, channel });
  const isRight = timingSafeEqual(expected, Buffer.from(given, 'hex'));
  if (!isRight || key === undefined) throw new PoolError('SESSION_AUTHENTICATION_FAILED');
  return hostUuid;
}
