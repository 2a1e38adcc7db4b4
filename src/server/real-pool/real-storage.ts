import { PatchVdiError } from '../../errors.js';
import { usableDefaultSr } from '../../pool/choose-sr.js';
import { isUuid } from '../../pool/folder-places.js';
import { VDI_CLONE, type RepositoryFacts, type StorageRepository } from '../../pool/storage.js';
import type { SrInventory, SrOfMaster } from '../../xenapi/sr-inventory.js';
import { PoolLink, type PoolLinkOptions } from './pool-link.js';
import { RealRepository, type RealRepositoryOptions } from './real-repository.js';

/** What holds no disks of ours: discs, and what is plugged into a host. */
const OTHER_CONTENTS = new Set(['iso', 'disk']);
const OTHER_TYPES = new Set(['iso', 'udev']);
/** A server of ours may name only what the mission asks for; whatever can clone a disk can make one. */
const MAKES_DISKS = ['VDI_CREATE', VDI_CLONE];

const MAX_NAME_CHARACTERS = 256;
/** As drivers of XAPI have them: `VDI_CREATE`, `VDI_GENERATE_CONFIG/2`. */
const CAPABILITY = /^[A-Z0-9_/]{1,64}$/;
const MAX_CAPABILITIES = 256;

/** The storage repositories of a real pool. */
export interface RealStorage {
  readonly link: PoolLink;
  /** UUID of the pool's default SR, when its master reaches it and it is among ours. */
  readonly defaultSr: string | undefined;
  /** In the order of the master's PBDs. */
  repositories(options: Omit<RealRepositoryOptions, 'facts' | 'link'>): readonly StorageRepository[];
}

/** Whether user disks can be made in it. */
function holdsDisks({ record, capabilities }: SrOfMaster): boolean {
  const { uuid, type, content_type: content } = record;
  return (
    isUuid(uuid) &&
    !OTHER_TYPES.has(type.toLowerCase()) &&
    !OTHER_CONTENTS.has(content.toLowerCase()) &&
    MAKES_DISKS.some((capability) => capabilities.has(capability))
  );
}

/** The PBD's device_config stays where it is: it may hold passwords of the storage. */
function factsOf({ record, capabilities }: SrOfMaster): RepositoryFacts {
  const { uuid, type, shared } = record;
  // One line that can be read: it stands on screens and in records.
  const nameLabel = record.name_label.replaceAll(/\p{C}/gu, ' ').slice(0, MAX_NAME_CHARACTERS);
  const named = [...capabilities].filter((capability) => CAPABILITY.test(capability));
  return {
    uuid,
    nameLabel,
    type: type.replaceAll(/\p{C}/gu, ' ').slice(0, MAX_NAME_CHARACTERS),
    capabilities: new Set(named.slice(0, MAX_CAPABILITIES)),
    shared,
    deviceConfig: {},
  };
}

function defaultOf({ defaultSr }: SrInventory, ours: readonly SrOfMaster[]): string | undefined {
  const candidates = ours.map(({ record: { uuid }, ...candidate }) => ({ ...candidate, uuid }));
  return usableDefaultSr(candidates, defaultSr)?.uuid;
}

/**
 * Logs in to a real pool, and finds out which storage repositories its master has.
 *
 * @returns its link is to be closed when nothing uses the repositories any more
 * @throws XenApiError SESSION_AUTHENTICATION_FAILED and others; PatchVdiError `usage` | `sink`
 */
export async function openRealStorage(options: PoolLinkOptions): Promise<RealStorage> {
  const link = await PoolLink.open(options);
  try {
    const inventory = await link.look();
    const ours = inventory.ofMaster.filter(holdsDisks);
    if (ours.length === 0) throw noStorage(link.name, inventory);
    return {
      link,
      defaultSr: defaultOf(inventory, ours),
      repositories: (more) => ours.map((sr) => new RealRepository({ ...more, link, facts: factsOf(sr) })),
    };
  } catch (error) {
    await link.close();
    throw error;
  }
}

function noStorage(path: string, { ofMaster }: SrInventory): PatchVdiError {
  return new PatchVdiError('usage', 'the pool has no storage repository that could take a disk', {
    context: {
      path,
      found: `${ofMaster.length} behind the PBDs of its master, none for disks`,
      expected: 'one whose driver can VDI_CREATE',
    },
  });
}
