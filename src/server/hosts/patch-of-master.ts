import { PatchVdiError } from '../../errors.js';
import type { ByteRange, PatchDownload } from '../../pool/download.js';
import type { Pool } from '../../pool/open-pool.js';
import { parametersOf, requiredParameter, splitTarget } from '../parameters.js';
import type { Route } from '../routes.js';
import { PATCH_PATH, type HostLink } from './host-link.js';
import type { ProofCheck } from './proof.js';
import { callerOf } from './serve-calls.js';

/*
 * "If the patch is still in the master's dom0 filesystem then it will fall back to the HTTP handler." A slave has no
 * account for `/pool_patch_download`: this is the same for hosts, who prove who they are.
 */

/** On the master. */
export function patchRoute(pool: Pool, check: ProofCheck): Route {
  return {
    methods: ['GET'],
    path: PATCH_PATH,
    needs: 'nothing',
    handle: async (exchange) => {
      const { signal } = callerOf(exchange, check);
      const { query } = splitTarget(exchange.request.url ?? '');
      const uuid = requiredParameter(parametersOf(query, exchange.request.headers), 'uuid');
      const download = await pool.patches.download(uuid, signal);
      try {
        exchange.head(200, {
          'Content-Type': 'application/octet-stream',
          'Content-Length': download.size,
        });
        await exchange.sendStream(download.stream());
      } finally {
        await download.close();
      }
    },
  };
}

/**
 * On a slave: the bytes of a patch of its master. The first stream of all of it costs one request.
 *
 * @throws PoolError CANNOT_FIND_PATCH and others, as the master says; PatchVdiError `sink`
 */
export async function patchOfMaster(
  link: HostLink,
  uuid: string,
  signal: AbortSignal | undefined,
): Promise<PatchDownload> {
  const first = await link.openPatch(uuid, signal);
  const size = first.contentLength;
  if (size === undefined) {
    first.close();
    throw otherSize(link, 'no length', 'the length of the patch');
  }
  let unused: typeof first | undefined = first;
  async function* stream({ start, end }: ByteRange = { start: 0, end: size ?? 0 }) {
    const opened = unused ?? (await link.openPatch(uuid, signal));
    unused = undefined;
    try {
      if (opened.contentLength !== size)
        throw otherSize(link, `${opened.contentLength} bytes`, `${size} bytes`);
      let at = 0;
      for await (const chunk of opened.chunks) {
        const piece = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
        at += chunk.length;
        if (piece.length > 0) yield piece;
        if (at >= end && end < (size ?? 0)) return;
      }
    } finally {
      opened.close();
    }
  }
  const close = (): Promise<void> => {
    unused?.close();
    unused = undefined;
    return Promise.resolve();
  };
  return { size, stream, close };
}

function otherSize(link: HostLink, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('sink', 'the master sends another patch', {
    context: { path: link.name, found, expected },
  });
}
