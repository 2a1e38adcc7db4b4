import { createHash } from 'node:crypto';
import { PatchVdiError } from '../errors.js';
import { abortable, writeChunks } from '../inspect/extract.js';
import type { FileChunk } from '../inspect/image-file.js';
import type { Sink } from '../io/sink.js';
import type { XenConnection } from '../xenapi/connection.js';
import type { VdiRecord } from '../xenapi/records.js';
import { UPLOAD_KEY, hasBrokenLabels, isUnfinished, readLabels } from '../xenapi/vdi-labels.js';
import { openVdi } from '../xenapi/open-vdi.js';

const PATCH_PATH = '/patch';

/** A patch that was read out of a VDI. */
export interface DownloadedVdi {
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Whether the VDI says which bytes were put into it, and these are the ones. */
  readonly isAsUploaded: boolean;
}

function otherBytes(where: string, found: string, expected: string): PatchVdiError {
  return new PatchVdiError('image', 'the VDI holds other bytes than were uploaded, as its labels say', {
    context: { path: where, found, expected: `${expected}, in other_config` },
    hint: 'the disk was damaged, or the labels were changed: patch-vdi pool vdi-extract takes out what is there, and patch-vdi build, with your keyring, tells whether it is signed',
    leftBehind: 'no file has the name of the output; what a pipe got is not to be used',
  });
}

/** Without labels it may be anybody's patch; but whoever wrote such ones does not vouch for the bytes. */
function requireWholeLabels({ other_config: config }: VdiRecord, where: string): void {
  if (!isUnfinished(config) && !hasBrokenLabels(config)) return;
  throw new PatchVdiError('image', 'the VDI does not say which bytes were put into it', {
    context: {
      path: where,
      found: isUnfinished(config)
        ? `${UPLOAD_KEY}: an upload that is under way, or was never finished`
        : 'labels that are not all there, or cannot be read',
      expected: 'all labels of an upload in other_config, or none',
    },
    hint: 'patch-vdi pool vdi-extract takes out what is there, and patch-vdi build, with your keyring, tells whether it is signed',
  });
}

/**
 * Reads the patch out of a VDI, forward, and holds it against the VDI's labels, if it has some. The sink is not
 * committed: that is for the caller, when this has ended well.
 *
 * @param vdi its reference
 * @throws XenApiError; PatchVdiError `image` when there is no patch or another one, `sink`, `space`
 */
export async function downloadVdi(
  connection: XenConnection,
  vdi: string,
  record: VdiRecord,
  sink: Sink,
  onBytes?: (bytes: number, totalBytes: number) => void,
): Promise<DownloadedVdi> {
  const labels = readLabels(record.other_config);
  const where = `VDI ${record.uuid} at ${connection.name}`;
  requireWholeLabels(record, where);
  const { image, close } = await openVdi(connection, vdi, record);
  try {
    const file = await (await image.filesystem()).file(PATCH_PATH);
    if (labels !== undefined && labels.size !== file.size) {
      throw otherBytes(where, `${file.size} bytes`, `${labels.size} bytes`);
    }
    const hash = createHash('sha256');
    const hashed = async function* (): AsyncGenerator<FileChunk> {
      for await (const chunk of abortable(file.chunks(), connection.signal)) {
        hash.update(chunk.bytes);
        yield chunk;
      }
    };
    const sizeBytes = await writeChunks(hashed(), sink, (bytes) => onBytes?.(bytes, file.size));
    const sha256 = hash.digest('hex');
    if (labels !== undefined && labels.sha256 !== sha256) {
      throw otherBytes(where, `SHA-256 ${sha256}`, `SHA-256 ${labels.sha256}`);
    }
    return { sizeBytes, sha256, isAsUploaded: labels !== undefined };
  } finally {
    await close();
  }
}
