import type { Features } from '../ext/superblock.js';
import type { ExtFilesystem } from '../ext/filesystem.js';
import { readFileMap } from '../ext/file-extents.js';
import { EXTENT_TREE_NAME, firstFreeBlock } from '../ext/metadata-map.js';
import { openRandomAccess } from '../io/random-access-file.js';
import { payloadRange, type PayloadAnnouncement } from '../plan/image-map.js';
import { trimPatchFile } from '../tools/debugfs.js';
import type { E2fsprogsCall } from '../tools/e2fsprogs.js';
import { BLOCK_BYTES, formatTemplate } from '../tools/mke2fs.js';
import { trace } from '../trace.js';
import { roundUp } from '../units.js';
import type { ImageIdentity } from './identity.js';
import {
  PAYLOAD_UNIT_BYTES,
  payloadCapacity,
  payloadStartFor,
  requireFit,
  type PayloadStart,
} from './size-rule.js';
import {
  PROBE,
  TemplateFolder,
  mismatch,
  openTemplate,
  readPayloadInode,
  readTemplate,
  type FilesystemIdentity,
  type ImageMaker,
  type Template,
} from './template.js';

interface FirstFormat {
  readonly start: PayloadStart;
  readonly imagePath: string | undefined;
}

/** Offset of the first block of `patch`, in bytes. */
async function findPayloadStart(filesystem: ExtFilesystem): Promise<number | undefined> {
  const { extents } = await readFileMap(filesystem, await readPayloadInode(filesystem));
  const first = extents[0];
  return first && first.fsBlock * BLOCK_BYTES;
}

/**
 * ext_attr, dir_index, sparse_super2; filetype, extent, 64bit, flex_bg; large_file, huge_file, dir_nlink, extra_isize,
 * metadata_csum: those of the stanza `ext4` in native-tools/mke2fs.conf, by their bits in the kernel documentation,
 * "The Super Block".
 */
const FEATURES: Features = {
  compat: 0x8 | 0x20 | 0x200,
  incompat: 0x2 | 0x40 | 0x80 | 0x200,
  roCompat: 0x2 | 0x8 | 0x20 | 0x40 | 0x400,
};

/** Makes ext4: mke2fs allocates the file itself, debugfs gives it its exact length. The payload is one run. */
export class Ext4Maker implements ImageMaker {
  readonly #folder: TemplateFolder;
  readonly #virtualSize: number;
  readonly #call: E2fsprogsCall;
  #start: Promise<PayloadStart> | undefined;

  private constructor(folder: TemplateFolder, virtualSize: number, call: E2fsprogsCall) {
    this.#folder = folder;
    this.#virtualSize = virtualSize;
    this.#call = call;
  }

  /** @param virtualSize bytes, a multiple of 2 MiB */
  static async open(virtualSize: number, call: E2fsprogsCall): Promise<Ext4Maker> {
    return new Ext4Maker(await TemplateFolder.open(call), virtualSize, call);
  }

  async announce(): Promise<PayloadAnnouncement> {
    const { offset } = await this.#startOnce();
    return {
      capacity: payloadCapacity(this.#virtualSize, offset),
      ranges: (payloadLength) => [payloadRange(offset, payloadLength, 0)],
    };
  }

  #startOnce(): Promise<PayloadStart> {
    this.#start ??= this.#probe();
    return this.#start;
  }

  async #probe(): Promise<PayloadStart> {
    return this.#startAccordingTo(await this.#format('probe', BLOCK_BYTES, 0, PROBE));
  }

  /** @param imagePath formatted without slack */
  async #startAccordingTo(imagePath: string): Promise<PayloadStart> {
    const file = openRandomAccess(imagePath);
    const free = await readTemplate(file, firstFreeBlock).finally(() => file.close());
    if (free === undefined) throw mismatch('no free block in an empty file system', 'free blocks');
    const start = payloadStartFor(this.#virtualSize, free);
    trace(
      'template',
      () => `first free block ${free}, payload at ${start.offset}, slack ${start.slackBlocks}`,
    );
    return start;
  }

  /**
   * Formats for a known length without a probe: a payload of at most half the image leaves the first free block of
   * an empty file system free, so the finished image tells as much as a probe. (At 2 TiB a probe takes 0.2 s.)
   *
   * @returns also the image, unless it has to be formatted again
   */
  async #formatWithoutProbe(payloadLength: number, identity: ImageIdentity): Promise<FirstFormat> {
    const imagePath = await this.#format('template', payloadLength, 0, identity);
    const start = await this.#startAccordingTo(imagePath);
    if (start.slackBlocks > 0) return { start, imagePath: undefined };
    const file = openRandomAccess(imagePath);
    const real = await readTemplate(file, findPayloadStart).finally(() => file.close());
    if (real === start.offset) return { start, imagePath };
    return { start: await this.#probe(), imagePath: undefined };
  }

  /** @returns the path of the image */
  async #format(
    name: string,
    patchBytes: number,
    slackBlocks: number,
    identity: FilesystemIdentity,
  ): Promise<string> {
    const imagePath = this.#folder.sparse(name, this.#virtualSize);
    const { label, filesystemUuid: uuid, hashSeed } = identity;
    const folder = this.#folder.path;
    await formatTemplate({ imagePath, folder, patchBytes, slackBlocks, label, uuid, hashSeed }, this.#call);
    return imagePath;
  }

  async make(payloadLength: number, identity: ImageIdentity): Promise<Template> {
    let imagePath: string | undefined;
    if (this.#start === undefined && payloadLength <= this.#virtualSize / 2) {
      const first = this.#formatWithoutProbe(payloadLength, identity);
      this.#start = first.then(({ start }) => start);
      // Whoever waits for the start gets the error; when nobody does, it is reported here.
      this.#start.catch(() => undefined);
      ({ imagePath } = await first);
    }
    const start = await this.#startOnce();
    requireFit(this.#virtualSize, payloadCapacity(this.#virtualSize, start.offset), payloadLength);
    imagePath ??= await this.#format('template', payloadLength, start.slackBlocks, identity);
    const allocatedBlocks = roundUp(payloadLength, PAYLOAD_UNIT_BYTES) / BLOCK_BYTES;
    const trim = { imagePath, folder: this.#folder.path, sizeBytes: payloadLength, allocatedBlocks };
    await trimPatchFile(trim, this.#call);
    const expectation = {
      shape: { virtualSize: this.#virtualSize, blockBytes: BLOCK_BYTES, payloadLength },
      ranges: [payloadRange(start.offset, payloadLength, 0)],
      identity,
      features: FEATURES,
      mapName: EXTENT_TREE_NAME,
    };
    return this.#folder.keep(await openTemplate(imagePath, expectation, this.#call));
  }

  async dispose(): Promise<void> {
    await this.#folder.remove();
  }
}
