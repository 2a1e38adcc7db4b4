import { isIP } from 'node:net';

const LABEL = /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$/;

/** Whether a certificate can be for it: an IP address, or a host name (RFC 1123, 2.1), `*` as its first label. */
export function isCertificateName(name: string): boolean {
  // An IPv4 address in an IPv6 one is written into certificates as IPv6, and looked for as IPv4.
  if (isIP(name) !== 0) return !/%|^::ffff:.*\./i.test(name);
  if (name.length > 253) return false;
  const labels = name.split('.');
  // What ends in a figure is a broken IP address, not a name.
  if (/^\d+$/.test(labels.at(-1) ?? '')) return false;
  return labels.every(
    (label, index) => LABEL.test(label) || (index === 0 && label === '*' && labels.length > 2),
  );
}
