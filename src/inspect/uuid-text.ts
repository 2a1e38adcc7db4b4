/** 16 bytes as a UUID is written, in the order in which they stand on the disk (RFC 9562 §4). */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Seconds since 1970 as ISO 8601 in UTC, without a fraction; undefined stays so. */
export function isoSeconds(seconds: number | undefined): string | undefined {
  if (seconds === undefined) return undefined;
  const date = new Date(seconds * 1000);
  // A damaged field may hold a year that no Date knows; its number is still a fact.
  if (Number.isNaN(date.getTime())) return `${seconds} seconds since 1970`;
  return date.toISOString().replace('.000Z', 'Z');
}

/** The same with nanoseconds, as far as there are any. */
export function isoNanoseconds({ seconds, nanoseconds }: { seconds: number; nanoseconds: number }): string {
  const whole = isoSeconds(seconds) ?? '';
  return nanoseconds === 0 ? whole : whole.replace(/Z$/, `.${String(nanoseconds).padStart(9, '0')}Z`);
}
