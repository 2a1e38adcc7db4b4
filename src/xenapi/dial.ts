import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { systemErrorCode, type PatchVdiError } from '../errors.js';
import { trace } from '../trace.js';
import type { ServerAddress } from './server-address.js';
import { causeWords, serverFailure } from './server-failure.js';
import { fingerprintOf, fingerprintText, type ReadyTrust } from './trust.js';

const UNTRUSTED =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_TLS_CERT|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH)/;
const NO_TLS = /^(EPROTO|ERR_SSL_)/;

const TRUST_HINT =
  '--ca-file FILE trusts the certificates in a file, --fingerprint SHA256 exactly one certificate; ask whoever runs the server for it';

const WRONG_CERTIFICATE_HINT =
  'somebody may stand between you and the server: ask whoever runs it for its fingerprint. Each host of a pool has a certificate of its own: --fingerprint may be given once for each';

function dialFailure(address: ServerAddress, trust: ReadyTrust, cause: Error): PatchVdiError {
  const code = systemErrorCode(cause) ?? '';
  const found = causeWords(cause);
  if (UNTRUSTED.test(code)) {
    return serverFailure(address, 'the server could not be trusted', {
      found,
      expected:
        trust.kind === 'authorities'
          ? `a valid certificate for ${address.host} that ${trust.file} vouches for`
          : `a valid certificate for ${address.host} from an authority that this machine trusts`,
      hint: TRUST_HINT,
      cause,
    });
  }
  if (NO_TLS.test(code) || (address.secure && code === 'ECONNRESET')) {
    return serverFailure(address, 'no TLS connection could be made to the server', {
      found,
      expected: 'a server that speaks TLS',
      hint: 'check the port, and whether the server speaks https or plain http there',
      cause,
      ...(code === 'ECONNRESET' ? { loss: 'unreachable' } : {}),
    });
  }
  const hints: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there: check host and port, and whether the server runs (patch-vdi serve)',
    ENOTFOUND: 'no name server knows that host: check how it is spelled',
    EAI_AGAIN: 'the name server does not answer: try the address instead of the name',
  };
  return serverFailure(address, 'the server could not be reached', {
    found,
    hint: hints[code] ?? 'check host and port, and the network between',
    cause,
    loss: 'unreachable',
  });
}

function tlsOptions({ host, port }: ServerAddress, trust: ReadyTrust): ConnectionOptions {
  return {
    host,
    port,
    // An IP address is no server name (RFC 6066 §3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    ...(trust.kind === 'authorities' ? { ca: trust.pem } : {}),
    // Then the certificate itself is compared, before anything is sent.
    rejectUnauthorized: trust.kind !== 'certificate',
  };
}

/** SHA-256 of servers' certificates. Node tells a certificate once only: asked again, there is none. */
const CERTIFICATES = new WeakMap<Socket, string>();

/** SHA-256 of the certificate of the server that was dialled, lower-case hex; undefined for a plain connection. */
export function certificateOf(socket: Socket): string | undefined {
  return CERTIFICATES.get(socket);
}

function wrongCertificate(
  address: ServerAddress,
  trust: ReadyTrust,
  socket: TLSSocket,
): PatchVdiError | undefined {
  const certificate = socket.getPeerX509Certificate();
  const found = certificate === undefined ? undefined : fingerprintOf(certificate);
  if (found !== undefined) CERTIFICATES.set(socket, found);
  if (trust.kind !== 'certificate') return undefined;
  const trusted = [trust.sha256].flat();
  if (found !== undefined && trusted.includes(found)) return undefined;
  return serverFailure(address, 'the server could not be trusted: its certificate is another one', {
    found: found === undefined ? 'no certificate' : fingerprintText(found),
    expected: trusted.map(fingerprintText).join(' or '),
    hint: WRONG_CERTIFICATE_HINT,
  });
}

/**
 * A connection on which a password may be sent: over TLS to a server that is the right one, or a plain one where that
 * was allowed. It belongs to the caller.
 *
 * @throws PatchVdiError `sink`; the reason of the signal
 */
export function dial(
  address: ServerAddress,
  trust: ReadyTrust,
  timeoutMilliseconds: number,
  signal: AbortSignal | undefined,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const { host, port, secure } = address;
    const socket = secure ? connectTls(tlsOptions(address, trust)) : connectPlain({ host, port });
    const settle = (outcome: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('secureConnect', onConnect).off('connect', onConnect);
      outcome();
    };
    const fail = (error: Error): void =>
      settle(() => {
        socket.destroy();
        reject(error);
      });
    const onAbort = (): void => fail(signal?.reason as Error);
    const onConnect = (): void => {
      const wrong = secure ? wrongCertificate(address, trust, socket as TLSSocket) : undefined;
      if (wrong !== undefined) return fail(wrong);
      trace('xenapi', () => `connected to ${address.name}`);
      settle(() => resolve(socket));
    };
    const timer = setTimeout(() => {
      fail(
        serverFailure(address, 'the server could not be reached', {
          found: `no answer for ${timeoutMilliseconds / 1000} seconds`,
          hint: 'check host and port, and the network between',
        }),
      );
    }, timeoutMilliseconds);
    signal?.addEventListener('abort', onAbort);
    // It stays: what a socket complains about later is told by whoever reads or writes then.
    socket.on('error', (cause: Error) => fail(dialFailure(address, trust, cause)));
    socket.once(secure ? 'secureConnect' : 'connect', onConnect);
  });
}
