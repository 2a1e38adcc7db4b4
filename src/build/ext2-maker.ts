import { PatchVdiError } from '../errors.js';
import {
  COMPAT_EXT_ATTR,
  COMPAT_HAS_JOURNAL,
  INCOMPAT_FILETYPE,
  RO_COMPAT_LARGE_FILE,
  RO_COMPAT_SPARSE_SUPER,
} from '../ext/layout.js';
import { INDIRECT_BLOCKS_NAME } from '../ext/metadata-map.js';
import { chooseUnits, takeFront, type ChosenUnits } from '../ext/placer/choose-units.js';
import { maximumFileBlocks } from '../ext/placer/indirect-blocks.js';
import { placeFile } from '../ext/placer/place-file.js';
import type { Features } from '../ext/superblock.js';
import { patchFile } from '../io/patch-file.js';
import { openRandomAccess } from '../io/random-access-file.js';
import { PAYLOAD_NAME, payloadRange, type ImageRange, type PayloadAnnouncement } from '../plan/image-map.js';
import { PATCH_MODE } from '../tools/debugfs.js';
import type { E2fsprogsCall } from '../tools/e2fsprogs.js';
import { BLOCK_BYTES, formatEmpty } from '../tools/mke2fs.js';
import { temporaryFailure } from '../tools/private-folder.js';
import { trace } from '../trace.js';
import { describeBytes, unitsToHold } from '../units.js';
import type { ImageIdentity } from './identity.js';
import { requireFit } from './size-rule.js';
import {
  PROBE,
  TemplateFolder,
  openTemplate,
  readTemplate,
  requireFeatures,
  type FilesystemIdentity,
  type ImageMaker,
  type Template,
} from './template.js';

type OldFilesystem = 'ext2' | 'ext3';

/** All that fs/ext2 and fs/ext3 of Linux 2.6 know, and nothing else: one unknown bit, and an old host refuses. */
const FEATURES: Readonly<Record<OldFilesystem, Features>> = {
  ext2: {
    compat: COMPAT_EXT_ATTR,
    incompat: INCOMPAT_FILETYPE,
    roCompat: RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE,
  },
  ext3: {
    compat: COMPAT_EXT_ATTR | COMPAT_HAS_JOURNAL,
    incompat: INCOMPAT_FILETYPE,
    roCompat: RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE,
  },
};

/**
 * Makes ext2 and ext3: mke2fs formats an empty file system, and we place the file in units that hold no metadata
 * (docs/design.md, "e2fsprogs is the author of the file system"). The payload is one run for each group and each gap.
 */
export class Ext2Maker implements ImageMaker {
  readonly #folder: TemplateFolder;
  readonly #virtualSize: number;
  readonly #filesystem: OldFilesystem;
  readonly #call: E2fsprogsCall;
  #units: Promise<ChosenUnits> | undefined;

  private constructor(
    folder: TemplateFolder,
    virtualSize: number,
    filesystem: OldFilesystem,
    call: E2fsprogsCall,
  ) {
    this.#folder = folder;
    this.#virtualSize = virtualSize;
    this.#filesystem = filesystem;
    this.#call = call;
  }

  /** @param virtualSize bytes, a multiple of 2 MiB */
  static async open(virtualSize: number, filesystem: OldFilesystem, call: E2fsprogsCall): Promise<Ext2Maker> {
    return new Ext2Maker(await TemplateFolder.open(call), virtualSize, filesystem, call);
  }

  async announce(): Promise<PayloadAnnouncement> {
    const units = await this.#unitsOnce();
    return {
      capacity: units.capacityBlocks * BLOCK_BYTES,
      ranges: (payloadLength) => rangesOf(units, payloadLength),
    };
  }

  #unitsOnce(): Promise<ChosenUnits> {
    this.#units ??= this.#format('probe', PROBE).then(unitsOf);
    return this.#units;
  }

  /** @returns the path of the image */
  async #format(name: string, identity: FilesystemIdentity): Promise<string> {
    const virtualSize = this.#virtualSize;
    const imagePath = this.#folder.sparse(name, virtualSize);
    const { label, filesystemUuid: uuid, hashSeed } = identity;
    const { path: folder } = this.#folder;
    const filesystem = this.#filesystem;
    await formatEmpty({ imagePath, folder, filesystem, virtualSize, label, uuid, hashSeed }, this.#call);
    return imagePath;
  }

  async make(payloadLength: number, identity: ImageIdentity): Promise<Template> {
    requireFileSize(this.#filesystem, payloadLength);
    const formatted = this.#format('template', identity);
    if (this.#units === undefined) {
      // Nobody asked beforehand: then the template itself tells, and no probe is needed.
      this.#units = formatted.then(unitsOf);
      // Whoever waits for the units gets the error; when nobody does, it is reported here.
      this.#units.catch(() => undefined);
    }
    const imagePath = await formatted;
    const units = await this.#units;
    requireFit(this.#virtualSize, units.capacityBlocks * BLOCK_BYTES, payloadLength);
    await this.#place(imagePath, units, payloadLength, identity);
    const expectation = {
      shape: { virtualSize: this.#virtualSize, blockBytes: BLOCK_BYTES, payloadLength },
      ranges: rangesOf(units, payloadLength),
      identity,
      features: FEATURES[this.#filesystem],
      mapName: INDIRECT_BLOCKS_NAME,
    };
    return this.#folder.keep(await openTemplate(imagePath, expectation, this.#call));
  }

  async #place(
    imagePath: string,
    units: ChosenUnits,
    sizeBytes: number,
    identity: ImageIdentity,
  ): Promise<void> {
    const { timeSeconds } = identity;
    const file = openRandomAccess(imagePath);
    try {
      await readTemplate(file, async (filesystem) => {
        requireFeatures(filesystem.superblock.features, FEATURES[this.#filesystem]);
        const patch = { name: PAYLOAD_NAME, mode: PATCH_MODE, sizeBytes, timeSeconds };
        await patchFile(imagePath, placeFile(filesystem, units, patch)).catch((cause: unknown) => {
          throw temporaryFailure(imagePath, cause);
        });
      });
    } finally {
      file.close();
    }
  }

  async dispose(): Promise<void> {
    await this.#folder.remove();
  }
}

/** @throws PatchVdiError `space` for a file that no image of that kind can hold */
function requireFileSize(filesystem: OldFilesystem, payloadLength: number): void {
  const largest = maximumFileBlocks(BLOCK_BYTES) * BLOCK_BYTES;
  if (payloadLength <= largest) return;
  throw new PatchVdiError('space', `a file of ${filesystem} cannot be that long`, {
    context: {
      operation: 'place the payload',
      found: `an upload of ${describeBytes(payloadLength)}`,
      expected: `${describeBytes(largest)} at most, whatever the size of the image`,
    },
    hint: '--filesystem ext4 takes it',
  });
}

/** The units of an empty file system. */
async function unitsOf(imagePath: string): Promise<ChosenUnits> {
  const file = openRandomAccess(imagePath);
  const units = await readTemplate(file, chooseUnits).finally(() => file.close());
  trace('template', () => `room for ${units.capacityBlocks} blocks in ${units.payload.length} runs`);
  return units;
}

/** The announced units as the payload fills them, from the front. */
function rangesOf(units: ChosenUnits, payloadLength: number): ImageRange[] {
  const runs = takeFront(units.payload, unitsToHold(payloadLength, BLOCK_BYTES));
  let payloadOffset = 0;
  return runs.map((run) => {
    const length = Math.min(run.blockCount * BLOCK_BYTES, payloadLength - payloadOffset);
    const range = payloadRange(run.firstBlock * BLOCK_BYTES, length, payloadOffset);
    payloadOffset += length;
    return range;
  });
}
