/** CRC-32C (Castagnoli), reflected polynomial 0x82F63B78, as the kernel's metadata_csum uses it. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/**
 * Continues a CRC-32C over `bytes`, without any inversion at start or end: ext4 seeds with ~0 and stores the
 * result as it stands (Documentation/filesystems/ext4, "Checksums").
 */
export function crc32c(seed: number, bytes: Uint8Array): number {
  let crc = seed;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return crc >>> 0;
}
