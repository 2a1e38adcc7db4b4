import * as v from 'valibot';
import type { Socket } from 'node:net';
import { PatchVdiError } from '../../errors.js';
import { KIB } from '../../units.js';
import { certificateOf } from '../../xenapi/dial.js';
import {
  DEFAULT_TIMEOUTS,
  answerTo,
  brokenConnection,
  limitRequest,
  openRequest,
} from '../../xenapi/exchange.js';
import { readText, refusal } from '../../xenapi/read-answer.js';
import { parseServerUrl } from '../../xenapi/server-address.js';
import { UNKNOWN_OUTCOME, serverFailure } from '../../xenapi/server-failure.js';
import { readTrust, type ServerTrust } from '../../xenapi/trust.js';
import { isXenApiError } from '../../xenapi/xen-api-error.js';
import { JOIN_PATH, joinAnswerSchema, type JoinRequest } from './host-calls.js';
import type { Joined } from './membership.js';

/** Where the master is, whom to believe that it is him, and an administrator of it. */
export interface JoinOptions {
  /** `https://master:8443` */
  readonly url: string;
  readonly trust: ServerTrust;
  readonly user: string;
  readonly password: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks a master to take this host into its pool. The password goes only to the server that is trusted, whose
 * certificate is from then on the only one that this host takes for its master's.
 *
 * @throws XenApiError when the master refuses; PatchVdiError `usage` for the URL, `sink`; the reason of the signal
 */
export async function askToJoin(options: JoinOptions, request: JoinRequest): Promise<Joined> {
  const { url, user, password, signal } = options;
  const address = parseServerUrl(url);
  if (!address.secure) {
    throw new PatchVdiError('usage', 'a pool is joined over TLS', {
      context: { path: address.name, found: 'http://', expected: 'https://' },
    });
  }
  const server = { address, trust: await readTrust(options.trust), timeouts: DEFAULT_TIMEOUTS };
  const body = Buffer.from(JSON.stringify(request));
  let certificateSha256: string | undefined;
  const seen = (socket: Socket): Record<string, string> => {
    certificateSha256 = certificateOf(socket);
    return {};
  };
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  const headers = {
    Authorization: `Basic ${credentials}`,
    'Content-Type': 'application/json',
    'Content-Length': String(body.length),
  };
  const head = { method: 'POST', path: JOIN_PATH, headers, headersFor: seen } as const;
  const sent = await openRequest(server, head, signal);
  const operation = 'join the pool';
  const tooLate = (): Error => serverFailure(address, 'the master does not answer', {});
  const limit = limitRequest(sent, server.timeouts.farewell, tooLate, signal);
  let text: string;
  try {
    sent.end(body);
    const response = await answerTo(sent);
    if (response.statusCode !== 200) {
      throw await refusal(response, { address, operation, secrets: [password, credentials] });
    }
    text = await readText(response, 64 * KIB);
  } catch (error) {
    const reached = limit.reached ?? error;
    if (reached instanceof PatchVdiError || isXenApiError(reached) || signal?.aborted === true) throw reached;
    throw brokenConnection(server, operation, reached, UNKNOWN_OUTCOME);
  } finally {
    limit.stop();
    sent.destroy();
  }
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), joinAnswerSchema), text);
  if (!parsed.success || certificateSha256 === undefined) {
    throw serverFailure(address, "the master's answer makes no sense", { found: 'another answer' });
  }
  const { poolUuid, key } = parsed.output;
  return { master: { url: address.name, certificateSha256 }, poolUuid, key: Buffer.from(key, 'hex') };
}
