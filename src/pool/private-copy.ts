import { trace } from '../trace.js';
import type { Ref } from './fields.js';
import type { TransferOptions } from './storage.js';
import type { VdiInProgress, Vdis } from './vdis.js';

/** The key of `VDI.other_config` of a host's private copy; the value is the host's UUID. */
const COPY_KEY = 'patch-copy-for-host';

export interface PrivateCopyRequest {
  /** The VDI of a patch. */
  readonly vdi: Ref;
  /** Where to. */
  readonly sr: Ref;
  /** The SR is the VDI's own, and can clone. */
  readonly clone: boolean;
  readonly nameLabel: string;
  readonly hostUuid: string;
}

/**
 * Makes a copy of a VDI for one host, and destroys it when `use` has ended, whatever happened. All the while its record
 * says that it is being made: so nobody else can use it, and a start after a kill removes it.
 *
 * @throws PoolError OUT_OF_SPACE | SR_FULL, HANDLE_INVALID, OTHER_OPERATION_IN_PROGRESS; the signal's reason; what `use`
 *   throws
 */
export async function withPrivateCopy<Result>(
  vdis: Vdis,
  { vdi, sr, clone, nameLabel, hostUuid }: PrivateCopyRequest,
  transfer: TransferOptions,
  use: (copy: VdiInProgress) => Promise<Result>,
): Promise<Result> {
  const { record, repository } = vdis.ready(vdi);
  const copy = await vdis.begin({
    sr,
    nameLabel,
    virtualSize: record.virtual_size,
    type: 'ephemeral',
    otherConfig: { [COPY_KEY]: hostUuid },
  });
  try {
    const request = { uuid: copy.uuid, nameLabel };
    if (clone) await repository.cloneVdi(record.uuid, request, transfer);
    else await repository.copyVdi(record.uuid, copy.repository, request, transfer);
    transfer.signal?.throwIfAborted();
    // What the patch unpacks must still fit when others have taken what is free now; a slave sees to it in its own SRs.
    const isHere = (await copy.repository.localPath(copy.uuid)) !== undefined;
    const room = isHere ? await copy.repository.openVdiForWriting(copy.uuid) : undefined;
    try {
      return await use(copy);
    } finally {
      room?.close();
    }
  } finally {
    // What cannot be removed now goes with the next start.
    await vdis.remove(copy.ref).catch((error: unknown) => {
      trace('pool', () => `the copy ${copy.uuid} could not be removed: ${String(error)}`);
    });
  }
}
