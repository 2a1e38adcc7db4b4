import { Command } from 'commander';
import { shortBytes } from '../inspect/draw-text.js';
import type { VdiEntry } from '../xenapi/inventory.js';
import type { VdiLabels } from '../xenapi/vdi-labels.js';
import { listing } from './listing.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { columnsOf } from './text.js';

interface RawVdisOptions extends RawPoolOptions {
  readonly all?: boolean;
}

/** The same words for `pool patches`. */
export function vdiObject({ record, srName, patch, labels, unfinished }: VdiEntry): object {
  return {
    uuid: record.uuid,
    nameLabel: record.name_label,
    virtualSizeBytes: record.virtual_size,
    usedBytes: record.physical_utilisation < 0 ? null : record.physical_utilisation,
    srName,
    patch: patch === undefined ? null : { uuid: patch.uuid, nameLabel: patch.name_label },
    labels: labels ?? null,
    unfinished,
  };
}

function page(vdis: readonly VdiEntry[], all: boolean, columns: number): string[] {
  if (vdis.length === 0) return [all ? 'the pool has no VDIs' : 'the pool has no VDIs of patches'];
  const entries = vdis.map((entry) => ({ cells: cellsOf(entry), details: detailsOf(entry, all) }));
  return listing(['UUID', 'SIZE', 'USED', 'SR'], entries, columns);
}

/** What it holds, as its labels say. */
export function labelsText({ size, signer, sha256 }: VdiLabels): string {
  const by = signer === '' ? 'verified by no signature' : `signed by ${signer}`;
  return `an upload of ${shortBytes(size)}; ${by}; SHA-256 ${sha256}`;
}

function cellsOf({ record, srName }: VdiEntry): string[] {
  const { uuid, virtual_size: size, physical_utilisation: used } = record;
  return [uuid, shortBytes(size), used < 0 ? '?' : shortBytes(used), srName];
}

function detailsOf({ record, patch, labels, unfinished }: VdiEntry, all: boolean): string[] {
  const name = record.name_label === '' ? 'without a name' : record.name_label;
  if (unfinished) return [name, 'an upload that was never finished, or is under way'];
  if (labels !== undefined) return [name, labelsText(labels)];
  return [name, ...(patch === undefined && !all ? ['no patch record names it: a copy, or left over'] : [])];
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
