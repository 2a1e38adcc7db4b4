import { PatchVdiError } from '../errors.js';
import type { ExtFilesystem } from '../ext/filesystem.js';
import { describeInode } from '../ext/inode-facts.js';
import { readInode } from '../ext/inode.js';
import { lookUp, walk, type WalkedEntry } from '../ext/paths.js';
import type { Superblock } from '../ext/superblock.js';
import { ImageFile } from './image-file.js';
import type { Image } from './image.js';

/** A listing ends here, and says so. */
const MAX_LISTED = 100_000;
const MAX_DEPTH = 64;

/** The ext file system of an image, read-only. */
export class ImageFilesystem {
  /** Decoded and checked; what is wrong with it is among the image's findings. */
  readonly superblock: Superblock;
  /** @internal */
  readonly ext: ExtFilesystem;
  readonly #image: Image;

  /** @internal */
  constructor(image: Image, ext: ExtFilesystem) {
    this.#image = image;
    this.ext = ext;
    this.superblock = ext.superblock;
  }

  /**
   * A regular file by its path from the root folder, such as `/patch`; a leading slash may be left out. Symbolic
   * links are not followed: the error says where they point.
   *
   * @throws PatchVdiError `image` when there is none of that name, or when it is no regular file
   */
  async file(path: string): Promise<ImageFile> {
    const absolute = `/${path.replace(/^\/+/, '')}`;
    const inodeNumber = await lookUp(this.ext, absolute);
    if (inodeNumber === undefined) {
      throw new PatchVdiError('image', `there is no ${absolute} in the file system`, {
        context: { path: this.#image.name, found: 'no such file', expected: absolute },
        hint: '--list shows what is there',
      });
    }
    const raw = await readInode(this.ext, inodeNumber);
    const facts = describeInode(this.ext, inodeNumber, raw);
    if (facts.type !== 'regular') {
      throw new PatchVdiError('image', `${absolute} is not a regular file`, {
        context: { path: this.#image.name, found: `a ${facts.type}`, expected: 'a regular file' },
      });
    }
    return new ImageFile(this.#image, this.ext, absolute, raw, facts);
  }

  /** Everything below the root folder, folder by folder; at most 100,000 entries, 64 folders deep. */
  list(): AsyncGenerator<WalkedEntry> {
    return walk(this.ext, { maxEntries: MAX_LISTED, maxDepth: MAX_DEPTH });
  }
}
