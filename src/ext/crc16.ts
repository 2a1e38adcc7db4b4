/** CRC-16 (IBM, "ARC"), reflected polynomial 0xA001, as the checksums of `uninit_bg` use it. */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  return crc;
});

/**
 * Continues a CRC-16 over `bytes`, without any inversion: ext4 starts with 0xffff (Documentation/filesystems/ext4,
 * "Block Group Descriptors", `bg_checksum`).
 */
export function crc16(seed: number, bytes: Uint8Array): number {
  let crc = seed;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return crc;
}
