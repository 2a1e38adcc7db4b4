import parseRange from 'range-parser';
import type { ByteRange } from '../pool/download.js';
import type { Pool } from '../pool/open-pool.js';
import type { Exchange } from './exchange.js';
import { HttpRefusal } from './http-refusal.js';
import { requiredParameter } from './parameters.js';
import type { Request } from './routes.js';
import { taskOf } from './task-of.js';
import type { TaskOwners } from './task-owners.js';

/**
 * The part that a client wants (RFC 9110, section 14.2): one range; undefined means all. Several ranges in one request
 * are answered with all, as the RFC allows; so is a range of something else than what is there now (`If-Range`).
 *
 * @throws HttpRefusal RANGE_NOT_SATISFIABLE
 */
function wantedRange(
  headers: { readonly range?: string | undefined; readonly 'if-range'?: string | string[] | undefined },
  size: number,
  tag: string,
): ByteRange | undefined {
  const condition = headers['if-range'];
  if (headers.range === undefined || (condition !== undefined && condition !== tag)) return undefined;
  // "If the selected representation is shorter than the specified suffix-length, the entire representation is used"
  // (14.1.2); the package takes that for a range that cannot be.
  const suffix = /^bytes=-(\d+)$/.exec(headers.range)?.[1];
  if (suffix !== undefined && Number(suffix) >= size && size > 0) return { start: 0, end: size };
  const ranges = parseRange(size, headers.range);
  if (ranges === -1) {
    throw new HttpRefusal('RANGE_NOT_SATISFIABLE', `there are ${size} bytes`, {
      'Content-Range': `bytes */${size}`,
    });
  }
  const [first, ...others] = ranges === -2 || ranges.type !== 'bytes' ? [] : ranges;
  if (first === undefined || others.length > 0) return undefined;
  return { start: first.start, end: first.end + 1 };
}

function headOf(
  range: ByteRange | undefined,
  size: number,
  tag: string,
): [number, Record<string, string | number>] {
  const headers = { 'Content-Type': 'application/octet-stream', 'Accept-Ranges': 'bytes', ETag: tag };
  if (range === undefined) return [200, { ...headers, 'Content-Length': size }];
  const { start, end } = range;
  const part = { 'Content-Length': end - start, 'Content-Range': `bytes ${start}-${end - 1}/${size}` };
  return [206, { ...headers, ...part }];
}

/** `GET /pool_patch_download?uuid=`: the upload's bytes, with their length, all of them or a range. */
export async function handlePatchDownload(pool: Pool, owners: TaskOwners, request: Request): Promise<void> {
  const { exchange, parameters } = request;
  const uuid = requiredParameter(parameters, 'uuid');
  const task = taskOf(pool, owners, request);
  const scene = { upload: 'patch', location: () => 'this host' } as const;
  await pool.tasks.run(task, scene, exchange.signal, async (signal) => {
    await send(pool, exchange, uuid, signal);
    await pool.database.change((draft) => pool.tasks.succeedIn(draft, task, ''));
  });
}

async function send(pool: Pool, exchange: Exchange, uuid: string, signal: AbortSignal): Promise<void> {
  const { request, response } = exchange;
  const download = await pool.patches.download(uuid, signal);
  try {
    const { sha256 } = pool.database.get('pool_patch', pool.database.getByUuid('pool_patch', uuid));
    const tag = `"${sha256 === '' ? `${uuid}-${download.size}` : sha256}"`;
    const range = wantedRange(request.headers, download.size, tag);
    exchange.head(...headOf(range, download.size, tag));
    if (request.method === 'HEAD') response.end();
    else await exchange.sendStream(download.stream(range));
  } finally {
    await download.close();
  }
}
