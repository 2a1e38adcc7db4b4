import { Command } from 'commander';
import { PatchVdiError, isPatchVdiError } from '../errors.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import type { CommandContext } from './program.js';
import { visible } from './text.js';

interface Destroyed {
  readonly uuid: string;
  readonly nameLabel: string;
}

/** One after the other. Nothing is destroyed when one of the names is wrong. */
async function destroyAll(
  { connection }: PoolScene,
  wanted: readonly string[],
  destroyed: Destroyed[],
): Promise<void> {
  const { findObject } = await import('../xenapi/find-object.js');
  const { VDIS } = await import('../xenapi/records.js');
  const vdis = await connection.callAs(VDIS, 'VDI.get_all_records');
  const found = new Map(wanted.map((name) => findObject('VDI', vdis, name, 'patch-vdi pool vdis --all')));
  for (const [ref, { uuid, name_label: nameLabel }] of found) {
    await connection.call('VDI.destroy', ref);
    destroyed.push({ uuid, nameLabel });
  }
}

/** The error of the one that could not be destroyed tells of the ones that are gone. */
function withDestroyed(error: unknown, destroyed: readonly Destroyed[]): unknown {
  if (destroyed.length === 0 || !isPatchVdiError(error)) return error;
  const { kind, message, context, hint, cause } = error;
  const gone = destroyed.map(({ uuid }) => uuid).join(', ');
  return new PatchVdiError(kind, message, {
    context,
    leftBehind: `destroyed before that: ${gone}`,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

async function vdiDestroy(
  wanted: readonly string[],
  raw: RawPoolOptions,
  context: CommandContext,
): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const destroyed: Destroyed[] = [];
  try {
    await withPool(raw, context, async (scene) => {
      await destroyAll(scene, wanted, destroyed);
      if (raw.json === true) {
        const { connection, warnings } = scene;
        context.printJson({ ok: true, server: connection.name, destroyed, warnings });
        return;
      }
      for (const { uuid, nameLabel } of destroyed) {
        process.stdout.write(`destroyed ${visible(uuid, 60)}  ${visible(nameLabel, 200)}\n`);
      }
    });
  } catch (error) {
    throw withDestroyed(error, destroyed);
  }
}

export function poolVdiDestroyCommand(context: CommandContext): Command {
  const command = new Command('vdi-destroy')
    .summary('destroy VDIs')
    .description(
      'Destroys VDIs, for good. The record of a patch stays, as that of a cleaned patch, until the server starts again or the patch is destroyed.',
    )
    .argument('<vdi...>', 'uuids, starts of them, or names');
  return addPoolOptions(command).action((wanted: string[], raw: RawPoolOptions) =>
    vdiDestroy(wanted, raw, context),
  );
}
