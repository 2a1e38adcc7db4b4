import { Command } from 'commander';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { startProgressBar } from './progress.js';
import { columnsOf, fieldLines } from './text.js';

interface RawCopyOptions extends RawPoolOptions {
  readonly sr: string;
  readonly quiet?: boolean;
  readonly progress: boolean;
}

interface Copied {
  readonly from: string;
  readonly uuid: string;
  readonly nameLabel: string;
  readonly srUuid: string;
  readonly srName: string;
}

async function copy({ connection }: PoolScene, wanted: string, raw: RawCopyOptions): Promise<Copied> {
  const { findObject } = await import('../xenapi/find-object.js');
  const { SRS, VDI, VDIS } = await import('../xenapi/records.js');
  const { afterwards } = await import('../xenapi/server-failure.js');
  const { copyVdi } = await import('../xenapi/transfer.js');
  const { labelled, readLabels } = await import('../xenapi/vdi-labels.js');
  const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
  const [vdi, from] = findObject('VDI', vdis, wanted, 'patch-vdi pool vdis --all');
  const srs = await connection.callAs(SRS, 'SR.get_all_records');
  const [sr, to] = findObject('storage repository', srs, raw.sr, 'patch-vdi pool srs');
  const showBar = process.stderr.isTTY && raw.progress && raw.quiet !== true && raw.json !== true;
  const bar = showBar ? await startProgressBar() : undefined;
  const totalBytes = from.virtual_size;
  const onFraction =
    bar &&
    ((fraction: number) =>
      bar.report({ phase: 'copy', bytes: Math.round(fraction * totalBytes), totalBytes }));
  const ref = await copyVdi(connection, vdi, sr, onFraction).finally(() => bar?.stop());
  const { uuid, name_label: nameLabel } = await afterwards(connection.address, 'the copy', async () => {
    const made = await connection.callAs(VDI, 'VDI.get_record', ref);
    // So that it is found again as what it is, also where a copy does not keep them.
    const labels = readLabels(from.other_config);
    if (labels !== undefined && readLabels(made.other_config) === undefined) {
      await connection.call('VDI.set_other_config', ref, labelled(made.other_config, labels));
    }
    return made;
  });
  return { from: from.uuid, uuid, nameLabel, srUuid: to.uuid, srName: to.name_label };
}

async function vdiCopy(wanted: string, raw: RawCopyOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async (scene) => {
    const vdi = await copy(scene, wanted, raw);
    if (raw.json === true) {
      const { connection, warnings } = scene;
      context.printJson({ ok: true, server: connection.name, vdi, warnings });
    } else if (raw.quiet !== true) {
      const fields = [
        ['from', vdi.from],
        ['to', vdi.uuid],
        ['name', vdi.nameLabel],
        ['SR', vdi.srName === '' ? vdi.srUuid : vdi.srName],
      ] as const;
      process.stdout.write(`copied\n${fieldLines(fields, columnsOf(process.stdout)).join('\n')}\n`);
    }
  });
}

export function poolVdiCopyCommand(context: CommandContext): Command {
  const command = new Command('vdi-copy')
    .summary('copy a VDI to another storage repository')
    .description('Copies a VDI to another storage repository, such as one that a host can reach.')
    .argument('<vdi>', 'uuid, the start of one, or name')
    .requiredOption('--sr <name>', 'where to, by name or uuid');
  return addPoolOptions(command)
    .option('--quiet', 'print nothing but errors')
    .option('--no-progress', 'no progress bar')
    .action((wanted: string, raw: RawCopyOptions) => vdiCopy(wanted, raw, context));
}
