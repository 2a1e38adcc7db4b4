import { Command } from 'commander';
import { shortBytes } from '../inspect/draw-text.js';
import type { PatchEntry, VdiEntry } from '../xenapi/inventory.js';
import { labelsText, vdiObject } from './command-pool-vdis.js';
import { listing } from './listing.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import { guidanceText, hostsText, patchObject, placeNote } from './pool-patch-words.js';
import type { CommandContext } from './program.js';
import { columnsOf } from './text.js';

/** Patches of which the pool has no record, by their VDIs. */
function storedPage(stored: readonly VdiEntry[], columns: number): string[] {
  if (stored.length === 0) return [];
  const entries = stored.map(({ record, srName, labels }) => ({
    cells: [record.uuid, labels === undefined ? '?' : shortBytes(labels.size), srName, record.name_label],
    details: labels === undefined ? [] : [labelsText(labels)],
  }));
  return [
    '',
    'stored by patch-vdi upload, without a record: the pool does not apply them',
    '',
    ...listing(['VDI', 'SIZE', 'SR', 'NAME'], entries, columns),
  ];
}

function page(patches: readonly PatchEntry[], columns: number): string[] {
  if (patches.length === 0) return ['the pool has no patches'];
  const entries = patches.map((entry) => {
    const { record, place } = entry;
    const notes = [placeNote(place), hostsText(entry), guidanceText(record.after_apply_guidance)];
    return {
      cells: [record.uuid, shortBytes(record.size), record.version, record.name_label],
      details: [notes.filter((note) => note !== '').join('; ')],
    };
  });
  return listing(['UUID', 'SIZE', 'VERSION', 'NAME'], entries, columns);
}

async function patches(raw: RawPoolOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async ({ connection, warnings }) => {
    const { listPatches, listStored } = await import('../xenapi/inventory.js');
    const entries = await listPatches(connection);
    const stored = await listStored(connection);
    if (raw.json === true) {
      context.printJson({
        ok: true,
        server: connection.name,
        patches: entries.map(patchObject),
        stored: stored.map(vdiObject),
        warnings,
      });
      return;
    }
    const columns = columnsOf(process.stdout);
    process.stdout.write(`${[...page(entries, columns), ...storedPage(stored, columns)].join('\n')}\n`);
  });
}

export function poolPatchesCommand(context: CommandContext): Command {
  const command = new Command('patches')
    .summary('list the patches of a pool')
    .description('Lists the patches of a pool, and where their bytes are.');
  return addPoolOptions(command).action((raw: RawPoolOptions) => patches(raw, context));
}
