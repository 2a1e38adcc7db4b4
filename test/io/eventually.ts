import { vi } from 'vitest';

/** Waits until a check no longer throws. The limit is for machines that are busy with other things. */
export function eventually(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 30_000, interval: 5 });
}
