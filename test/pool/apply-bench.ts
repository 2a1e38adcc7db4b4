import { readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Pool } from '../../src/pool/open-pool.js';
import { expectNoRemains } from '../host/host-bench.js';
import { filesOf, signedMessage, type PoolPlace, type SamplePatch, sha256 } from './test-pool.js';

export const SCRIPT_UUID = '5a9f0c0e-55f5-4c9f-a5c4-7d0d0e5f1b11';

export interface ScriptParts {
  readonly uuid?: string;
  readonly name?: string;
  readonly guidance?: string;
  readonly precheck?: string;
  readonly apply?: string;
  /** Behind the script; default: none. */
  readonly paddingBytes?: number;
}

/** A signed shell script as a patch, for what the kit's patches do not do. */
export async function scriptPatch(parts: ScriptParts): Promise<SamplePatch> {
  const {
    uuid = SCRIPT_UUID,
    name = 'script',
    guidance = '',
    precheck = 'true',
    apply = 'echo applied',
  } = parts;
  const info = `<info uuid="${uuid}" version="1.0" name-label="${name}" name-description="d" after-apply-guidance="${guidance}"/>`;
  const script = `#!/bin/sh\ncase $1 in\ninfo) echo '${info}';;\nprecheck)\n${precheck}\n;;\napply)\n${apply}\n;;\nesac\nexit\n`;
  const bytes = await signedMessage(
    Buffer.concat([Buffer.from(script), Buffer.alloc(parts.paddingBytes ?? 0, 'padding')]),
  );
  return { uuid, bytes, sha256: sha256(bytes) };
}

/** No copy, no temporary file, no mount, no loop device, no process; the disks of the pool are those of its records. */
export async function expectNothingLeft(pool: Pool, place: PoolPlace): Promise<void> {
  const records = pool.database.all('VDI');
  expect(records.filter(([, { state }]) => state !== 'ready')).toEqual([]);
  const names = new Map(pool.database.all('SR').map(([ref, { name_label }]) => [ref, name_label.slice(3)]));
  const expected = records.map(([, { SR, uuid }]) => `${names.get(SR)}/${uuid}.raw`);
  expect(filesOf(place)).toEqual(expected.toSorted());
  await expectNoRemains(place.folder);
}

export function appliedFiles(place: PoolPlace): string[] {
  try {
    return readdirSync(join(place.state, 'applied')).sort();
  } catch {
    return [];
  }
}

/** What an apply leaves whose process was killed: no process has that number. */
export function leaveMarker(place: PoolPlace, uuid: string, beganAt: string): void {
  mkdirSync(join(place.state, 'applied'), { recursive: true });
  const name = `.patch-vdi-began-${uuid}`;
  writeFileSync(join(place.state, 'applied', name), `4194305.1 ${beganAt}\n`);
}

export async function waitFor(what: string, look: () => boolean): Promise<void> {
  await expect.poll(look, { interval: 10, message: what }).toBe(true);
}
