import { Command } from 'commander';
import { shortBytes } from '../inspect/draw-text.js';
import type { VdiEntry } from '../xenapi/inventory.js';
import { listing } from './listing.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { columnsOf } from './text.js';

interface RawVdisOptions extends RawPoolOptions {
  readonly all?: boolean;
}

function vdiObject({ record, srName, patch }: VdiEntry): object {
  return {
    uuid: record.uuid,
    nameLabel: record.name_label,
    virtualSizeBytes: record.virtual_size,
    usedBytes: record.physical_utilisation < 0 ? null : record.physical_utilisation,
    srName,
    patch: patch === undefined ? null : { uuid: patch.uuid, nameLabel: patch.name_label },
  };
}

function page(vdis: readonly VdiEntry[], all: boolean, columns: number): string[] {
  if (vdis.length === 0) return [all ? 'the pool has no VDIs' : 'the pool has no VDIs of patches'];
  const entries = vdis.map(({ record, srName, patch }) => ({
    cells: [
      record.uuid,
      shortBytes(record.virtual_size),
      record.physical_utilisation < 0 ? '?' : shortBytes(record.physical_utilisation),
      srName,
    ],
    details: [
      record.name_label === '' ? 'without a name' : record.name_label,
      ...(patch === undefined && !all ? ['no record knows it any more'] : []),
    ],
  }));
  return listing(['UUID', 'SIZE', 'USED', 'SR'], entries, columns);
}

async function vdis(raw: RawVdisOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const all = raw.all === true;
  await withPool(raw, context, async ({ connection, warnings }) => {
    const { listVdis } = await import('../xenapi/inventory.js');
    const entries = await listVdis(connection, all);
    if (raw.json === true) {
      context.printJson({ ok: true, server: connection.name, vdis: entries.map(vdiObject), warnings });
    } else process.stdout.write(`${page(entries, all, columnsOf(process.stdout)).join('\n')}\n`);
  });
}

export function poolVdisCommand(context: CommandContext): Command {
  const command = new Command('vdis')
    .summary('list the VDIs of patches')
    .description('Lists the VDIs in which patches are kept.')
    .option('--all', 'all other VDIs, too');
  return addPoolOptions(command).action((raw: RawVdisOptions) => vdis(raw, context));
}
