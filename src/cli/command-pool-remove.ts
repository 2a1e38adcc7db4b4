import { Command } from 'commander';
import type { PatchRemains, PatchRemoval } from '../xenapi/change.js';
import { addPoolOptions, withPool, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { columnsOf, fieldLines } from './text.js';

interface Removal {
  readonly call: PatchRemoval;
  readonly summary: string;
  readonly description: string;
  /** Of calls that the mission has deprecated. */
  readonly deprecated?: string;
  /** For people, when it is done. */
  readonly done: string;
}

const REMOVALS: Readonly<Record<string, Removal>> = {
  clean: {
    call: 'clean',
    summary: 'remove the file of a patch on the master (deprecated)',
    description:
      'Removes the file of a patch on the master, if it is still one. A patch in a VDI stays: see vdi-destroy.',
    deprecated:
      'pool_patch.clean is deprecated: it removes files on the master only, and patches are kept in VDIs now; use "patch-vdi pool vdi-destroy"',
    done: 'cleaned',
  },
  'pool-clean': {
    call: 'pool_clean',
    summary: 'destroy the VDI of a patch (deprecated)',
    description: 'Destroys the VDI of a patch. Deprecated: vdi-destroy does the same.',
    deprecated: 'pool_patch.pool_clean is deprecated: use "patch-vdi pool vdi-destroy"',
    done: 'cleaned',
  },
  destroy: {
    call: 'destroy',
    summary: 'remove a patch: file, VDI and record',
    description: 'Removes a patch from the pool. One that is applied to a host stays.',
    done: 'destroyed',
  },
};

function remainsText({ record, vdi }: PatchRemains): string {
  if (record) return vdi ? 'its record and its VDI' : 'its record';
  return vdi ? 'its VDI' : 'nothing';
}

async function remove(
  wanted: string,
  removal: Removal,
  raw: RawPoolOptions,
  context: CommandContext,
): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  await withPool(raw, context, async ({ connection, warn, warnings }) => {
    const { findObject } = await import('../xenapi/find-object.js');
    const { removePatch } = await import('../xenapi/change.js');
    const { PATCHES } = await import('../xenapi/records.js');
    const patches = await connection.callAs(PATCHES, 'pool_patch.get_all_records');
    const [ref, record] = findObject('patch', patches, wanted, 'patch-vdi pool patches');
    if (removal.deprecated !== undefined) warn(removal.deprecated);
    const left = await removePatch(connection, removal.call, ref, record.VDI);
    if (raw.json === true) {
      const patch = { uuid: record.uuid, nameLabel: record.name_label };
      context.printJson({ ok: true, server: connection.name, patch, left, warnings });
      return;
    }
    const fields = [
      ['patch', record.uuid],
      ['name', record.name_label],
      ['left', remainsText(left)],
    ] as const;
    const lines = [removal.done, ...fieldLines(fields, columnsOf(process.stdout))];
    process.stdout.write(`${lines.join('\n')}\n`);
  });
}

/** `clean`, `pool-clean` and `destroy`. */
export function poolRemovalCommands(context: CommandContext): Command[] {
  return Object.entries(REMOVALS).map(([name, removal]) => {
    const command = new Command(name)
      .summary(removal.summary)
      .description(removal.description)
      .argument('<patch>', 'uuid, the start of one, or name');
    return addPoolOptions(command).action((wanted: string, raw: RawPoolOptions) =>
      remove(wanted, removal, raw, context),
    );
  });
}
