import { crc24 } from '../signature/armor.js';

/**
 * ASCII armour, RFC 4880 §6.2.
 *
 * @param label as in the header line: `PUBLIC KEY BLOCK`
 */
export function armored(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  const checksum = Buffer.alloc(3);
  checksum.writeUIntBE(crc24(bytes), 0, 3);
  const text = [`-----BEGIN PGP ${label}-----`, '', ...lines, `=${checksum.toString('base64')}`];
  return [...text, `-----END PGP ${label}-----`, ''].join('\n');
}
