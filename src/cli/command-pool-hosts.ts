import { Command } from 'commander';
import type { HostEntry } from '../xenapi/hosts.js';
import { listing } from './listing.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { columnsOf } from './text.js';

function hostObject({ record, isMaster, live }: HostEntry): object {
  const { uuid, name_label: nameLabel, address } = record;
  return { uuid, nameLabel, address: address === '' ? null : address, isMaster, live: live ?? null };
}

function page(hosts: readonly HostEntry[], columns: number): string[] {
  if (hosts.length === 0) return ['the pool has no hosts'];
  const entries = hosts.map(({ record, isMaster, live }) => {
    const state = live === undefined ? '?' : live ? 'yes' : 'NO';
    return { cells: [isMaster ? '*' : '', record.uuid, state, record.address || '?', record.name_label] };
  });
  return listing(['', 'UUID', 'LIVE', 'ADDRESS', 'NAME'], entries, columns);
}

async function hosts(raw: RawPoolOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async ({ connection, warnings }) => {
    const { listPoolHosts } = await import('../xenapi/hosts.js');
    const entries = await listPoolHosts(connection);
    if (raw.json === true) {
      context.printJson({ ok: true, server: connection.name, hosts: entries.map(hostObject), warnings });
    } else process.stdout.write(`${page(entries, columnsOf(process.stdout)).join('\n')}\n`);
  });
}

export function poolHostsCommand(context: CommandContext): Command {
  const command = new Command('hosts')
    .summary('list the hosts of a pool')
    .description('Lists the hosts of a pool, and whether its master reaches them; * is the master.');
  return addPoolOptions(command).action((raw: RawPoolOptions) => hosts(raw, context));
}
