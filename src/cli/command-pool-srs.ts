import { Command } from 'commander';
import { shortBytes } from '../inspect/draw-text.js';
import type { SrEntry } from '../xenapi/inventory.js';
import { listing } from './listing.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { columnsOf } from './text.js';

/** Bytes, or undefined while the server does not know. */
function freeBytes({ record }: SrEntry): number | undefined {
  const { physical_size: size, physical_utilisation: used } = record;
  return size < 0 || used < 0 ? undefined : Math.max(0, size - used);
}

function srObject(entry: SrEntry): object {
  const { record, isDefault, capabilities, reachable } = entry;
  return {
    uuid: record.uuid,
    nameLabel: record.name_label,
    type: record.type,
    isDefault,
    shared: record.shared,
    sizeBytes: record.physical_size < 0 ? null : record.physical_size,
    freeBytes: freeBytes(entry) ?? null,
    capabilities: capabilities ?? null,
    reachable: reachable ?? null,
  };
}

function page(repositories: readonly SrEntry[], columns: number): string[] {
  if (repositories.length === 0) return ['the pool has no storage repositories'];
  const entries = repositories.map((entry) => {
    const { record, isDefault, capabilities, reachable } = entry;
    const free = freeBytes(entry);
    const notes = [
      ...(reachable === false ? ['OUT OF REACH: no host has it attached'] : []),
      ...(isDefault ? ['the default'] : []),
      ...(record.shared ? ['shared'] : []),
      ...(record.physical_size < 0 ? [] : [`${shortBytes(record.physical_size)} in all`]),
      ...(capabilities === undefined ? [] : [`can do ${capabilities.join(' ')}`]),
    ];
    return {
      cells: [
        isDefault ? '*' : '',
        record.uuid,
        free === undefined ? '?' : shortBytes(free),
        record.type,
        record.name_label,
      ],
      details: notes.length === 0 ? [] : [notes.join('; ')],
    };
  });
  return listing(['', 'UUID', 'FREE', 'TYPE', 'NAME'], entries, columns);
}

async function srs(raw: RawPoolOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async ({ connection, warnings }) => {
    const { listRepositories } = await import('../xenapi/inventory.js');
    const entries = await listRepositories(connection);
    if (raw.json === true) {
      const repositories = entries.map(srObject);
      context.printJson({ ok: true, server: connection.name, repositories, warnings });
    } else process.stdout.write(`${page(entries, columnsOf(process.stdout)).join('\n')}\n`);
  });
}

export function poolSrsCommand(context: CommandContext): Command {
  const command = new Command('srs')
    .summary('list the storage repositories of a pool')
    .description('Lists the storage repositories of a pool; * is the default, where patches go.');
  return addPoolOptions(command).action((raw: RawPoolOptions) => srs(raw, context));
}
