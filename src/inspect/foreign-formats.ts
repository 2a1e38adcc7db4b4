import { PatchVdiError } from '../errors.js';

/**
 * What a disk starts with when it is no ext file system: told by name, so that a person sees at once which file was
 * taken for the image. Each magic is where the format's own documentation puts it.
 */
const MAGICS: readonly (readonly [offsetBytes: number, magic: string, name: string, hint: string])[] = [
  [0, 'QFI\u00fb', 'a qcow2 image', 'convert it: qemu-img convert -O raw IMAGE disk.raw'],
  [0, 'vhdxfile', 'a VHDX image', 'convert it: qemu-img convert -f vhdx -O raw IMAGE disk.raw'],
  [0, 'KDMV', 'a VMDK image', 'convert it: qemu-img convert -f vmdk -O raw IMAGE disk.raw'],
  [0, '# Disk DescriptorFile', 'the descriptor of a VMDK image', 'convert it with qemu-img convert'],
  [0, '<<< ', 'a VirtualBox VDI image', 'convert it: qemu-img convert -f vdi -O raw IMAGE disk.raw'],
  [0, '\u001f\u008b', 'a gzip file', 'unpack it: gunzip -c IMAGE | patch-vdi inspect -'],
  [0, '\u00fd7zXZ\u0000', 'an xz file', 'unpack it first'],
  [0, '\u0028\u00b5\u002f\u00fd', 'a zstd file', 'unpack it first'],
  [0, 'PK\u0003\u0004', 'a ZIP file', 'unpack it first'],
  [0, '-----BEGIN PGP ', 'an armoured OpenPGP file', 'it is no disk image'],
  [0, '#!', 'a script', 'a disk image is made of it by: patch-vdi build'],
  [257, 'ustar', 'a tar archive', 'an XVA export holds the disk in pieces: export the VDI itself'],
  [0, 'LUKS\u00ba\u00be', 'an encrypted disk (LUKS)', 'open it with cryptsetup, then name the mapped device'],
  [512, 'LABELONE', 'an LVM physical volume', 'name the logical volume'],
  [24, 'LVM2 001', 'an LVM physical volume', 'name the logical volume'],
  [0, 'XFSB', 'an XFS file system', 'a patch VDI holds ext2, ext3 or ext4'],
  [65_600, '_BHRfS_M', 'a btrfs file system', 'a patch VDI holds ext2, ext3 or ext4'],
  [3, 'NTFS    ', 'an NTFS file system', 'a patch VDI holds ext2, ext3 or ext4'],
  [54, 'FAT1', 'a FAT file system', 'a patch VDI holds ext2, ext3 or ext4'],
  [82, 'FAT32', 'a FAT file system', 'a patch VDI holds ext2, ext3 or ext4'],
  [32_769, 'CD001', 'an ISO 9660 image', 'a patch VDI holds ext2, ext3 or ext4'],
  [4086, 'SWAPSPACE2', 'swap space', 'a patch VDI holds ext2, ext3 or ext4'],
];

/** As many bytes from the start as the magics need. */
export const FOREIGN_START_BYTES = 66 * 1024;

/** What the bytes at the start of a disk are known for, or undefined. */
export function foreignFormat(start: Uint8Array): { name: string; hint: string } | undefined {
  const text = Buffer.from(start.buffer, start.byteOffset, start.length);
  for (const [offset, magic, name, hint] of MAGICS) {
    if (text.toString('latin1', offset, offset + magic.length) === magic) return { name, hint };
  }
  return undefined;
}

/** The error for a disk that starts with something else than an ext file system. */
export function foreignFormatError(imageName: string, start: Uint8Array): PatchVdiError | undefined {
  const known = foreignFormat(start);
  if (known === undefined) return undefined;
  return new PatchVdiError('image', 'the disk holds no ext file system', {
    context: { path: imageName, offset: 0, found: known.name, expected: 'ext2, ext3 or ext4' },
    hint: known.hint,
  });
}
