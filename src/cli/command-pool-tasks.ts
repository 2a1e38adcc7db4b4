import { Command } from 'commander';
import type { TaskEntry } from '../xenapi/change.js';
import type { TaskRecord } from '../xenapi/records.js';
import { listing } from './listing.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { collect } from './source-options.js';
import { columnsOf } from './text.js';

interface RawTasksOptions extends RawPoolOptions {
  readonly cancel?: readonly string[];
}

function taskObject({ record }: TaskEntry): object {
  return {
    uuid: record.uuid,
    nameLabel: record.name_label,
    status: record.status,
    progress: record.progress,
    created: record.created,
    finished: record.finished,
    errorInfo: record.error_info,
  };
}

/** `20261121T18:16:00Z`, as the XenAPI writes it, for people. */
function timeText(text: string): string {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d:\d\d:\d\d)Z$/.exec(text);
  return match === null ? text : `${match[1]}-${match[2]}-${match[3]} ${match[4]} UTC`;
}

function page(tasks: readonly TaskEntry[], columns: number): string[] {
  if (tasks.length === 0) return ['the pool has no tasks'];
  const entries = tasks.map(({ record }) => {
    const percent = `${Math.round(Math.min(1, Math.max(0, record.progress)) * 100)} %`;
    return {
      cells: [record.uuid, record.status, percent, record.name_label],
      details: [
        `since ${timeText(record.created)}`,
        ...(record.error_info.length === 0 ? [] : [record.error_info.join(', ').slice(0, 300)]),
      ],
    };
  });
  return listing(['UUID', 'STATUS', 'DONE', 'NAME'], entries, columns);
}

/** None when one of the names is wrong. @returns those that were told to end. @throws PatchVdiError `usage` */
export async function cancelTasks(
  { connection }: PoolScene,
  wanted: readonly string[],
): Promise<readonly TaskRecord[]> {
  const { findObject } = await import('../xenapi/find-object.js');
  const { isUnderWay, listTasks } = await import('../xenapi/change.js');
  const pending = (await listTasks(connection)).filter(({ record }) => isUnderWay(record));
  const records = Object.fromEntries(pending.map(({ ref, record }) => [ref, record]));
  const found = new Map(
    wanted.map((name) => findObject('task that is under way', records, name, 'patch-vdi pool tasks')),
  );
  for (const ref of found.keys()) await connection.call('task.cancel', ref);
  return [...found.values()];
}

async function tasks(raw: RawTasksOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async (scene) => {
    const { listTasks } = await import('../xenapi/change.js');
    if (raw.cancel !== undefined) await cancelTasks(scene, raw.cancel);
    const { connection, warnings } = scene;
    const entries = await listTasks(connection);
    if (raw.json === true) {
      context.printJson({ ok: true, server: connection.name, tasks: entries.map(taskObject), warnings });
    } else process.stdout.write(`${page(entries, columnsOf(process.stdout)).join('\n')}\n`);
  });
}

export function poolTasksCommand(context: CommandContext): Command {
  const command = new Command('tasks')
    .summary('list what a pool is doing')
    .description('Lists the tasks of a pool, those under way first.')
    .option(
      '--cancel <task>',
      'cancel that one first: uuid, the start of one, or name (repeatable)',
      collect,
    );
  return addPoolOptions(command).action((raw: RawTasksOptions) => tasks(raw, context));
}
