import type { E2fsprogsCall } from '../tools/e2fsprogs.js';
import type { FilesystemName } from '../tools/mke2fs.js';
import { Ext2Maker } from './ext2-maker.js';
import { Ext4Maker } from './ext4-maker.js';
import type { ImageMaker } from './template.js';

/** The maker of templates with that file system. The caller disposes of it. */
export async function openImageMaker(
  filesystem: FilesystemName,
  virtualSize: number,
  call: E2fsprogsCall,
): Promise<ImageMaker> {
  if (filesystem === 'ext4') return await Ext4Maker.open(virtualSize, call);
  return await Ext2Maker.open(virtualSize, filesystem, call);
}
