import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { buildPatchImage } from '../../src/index.js';
import { MIB } from '../../src/units.js';
import { payloadBytes } from '../plan/materialise.js';
import { fixtureBytes, fixtureNames } from '../ext/fixture-images.js';
import { makeBase, type Base } from './base.js';
import { PARTITION_OFFSET_BYTES, partitionedDisk } from './partition-targets.js';

const VHD_FOLDER = join(import.meta.dirname, '../../fixtures/vhd');
const VHD_SUFFIX = '.vhd.gz';
const EPOCH_SECONDS = 1_000_000_000;
const PAYLOAD_BYTES = 100_003;

function vhdFixture(name: string): Uint8Array {
  return gunzipSync(readFileSync(join(VHD_FOLDER, name + VHD_SUFFIX)));
}

async function ownImages(folder: string): Promise<Base[]> {
  const bases: Base[] = [];
  const source = join(folder, 'upload');
  writeFileSync(source, payloadBytes(0, PAYLOAD_BYTES));
  for (const filesystem of ['ext2', 'ext3', 'ext4'] as const) {
    for (const format of ['raw', 'vhd', 'vhd-fixed'] as const) {
      const sink = join(folder, `${filesystem}.${format}`);
      await buildPatchImage({
        source,
        sink,
        format,
        filesystem,
        verify: { unsigned: true },
        sourceDateEpoch: EPOCH_SECONDS,
        environment: { temporaryFolder: folder },
      });
      const bytes = readFileSync(sink);
      bases.push(
        await makeBase({
          name: `own-${filesystem}-${format}`,
          format: format === 'raw' ? 'raw' : 'vhd',
          bytes,
        }),
      );
    }
  }
  return bases;
}

/** Every image that mutations start from, always in the same order: a case is told by its seed and number. */
export async function loadBases(folder: string): Promise<Base[]> {
  const bases = await ownImages(folder);
  for (const name of fixtureNames().toSorted()) {
    bases.push(await makeBase({ name, format: 'raw', bytes: fixtureBytes(name) }));
  }
  const vhds = readdirSync(VHD_FOLDER).filter((file) => file.endsWith(VHD_SUFFIX));
  for (const file of vhds.toSorted()) {
    const name = file.slice(0, -VHD_SUFFIX.length);
    const parentName = name.replace(/-child$/, '-parent');
    const parent = parentName === name ? {} : { parent: vhdFixture(parentName) };
    bases.push(await makeBase({ name, format: 'vhd', bytes: vhdFixture(name), ...parent }));
  }
  const small = fixtureBytes('ext2-one-byte');
  for (const scheme of ['MBR', 'GPT'] as const) {
    const bytes = partitionedDisk(small, scheme);
    bases.push(
      await makeBase({
        name: `partition-${scheme}`,
        format: 'raw',
        bytes,
        offsetBytes: PARTITION_OFFSET_BYTES,
      }),
    );
  }
  if (small.length !== MIB) throw new Error('the smallest fixture is of 1 MiB');
  return bases;
}
