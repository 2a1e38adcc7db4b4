import { Command } from 'commander';
import { PatchVdiError, isPatchVdiError, restate } from '../errors.js';
import { addPoolOptions, withPool, type PoolScene, type RawPoolOptions } from './pool-options.js';
import type { VdiEntry } from '../xenapi/inventory.js';
import type { CommandContext } from './program.js';
import { visible } from './text.js';

interface RawDestroyOptions extends RawPoolOptions {
  readonly force?: boolean;
}

interface Destroyed {
  readonly uuid: string;
  readonly nameLabel: string;
}

/** @throws PatchVdiError `usage` for what somebody may still need */
function requireOurs({ record }: VdiEntry, isOurs: boolean): void {
  const refuse = (message: string, found: string, expected: string): PatchVdiError =>
    new PatchVdiError('usage', message, {
      context: { path: visible(`${record.uuid} ${record.name_label}`.trim(), 100), found, expected },
      hint: '--force destroys it nevertheless, for good',
      leftBehind: 'nothing was changed on the server',
    });
  if (!isOurs) {
    throw refuse(
      'that VDI is not known as one of a patch',
      'neither labels of patch-vdi, nor a record, nor the name',
      'one that patch-vdi pool vdis lists',
    );
  }
  const { length } = record.VBDs;
  if (length > 0) throw refuse('that VDI is a disk of a VM', `VBDs: ${length}`, 'one that no VM has');
}

/** One after the other. Nothing is destroyed when one of them is wrong. */
async function destroyAll(
  { connection }: PoolScene,
  wanted: readonly string[],
  force: boolean,
  destroyed: Destroyed[],
): Promise<void> {
  const { findObject } = await import('../xenapi/find-object.js');
  const { isOfPatch, listVdis } = await import('../xenapi/inventory.js');
  const entries = new Map((await listVdis(connection, true)).map((entry) => [entry.ref, entry]));
  const vdis = Object.fromEntries([...entries].map(([ref, { record }]) => [ref, record]));
  const found = new Map(wanted.map((name) => findObject('VDI', vdis, name, 'patch-vdi pool vdis --all')));
  for (const ref of found.keys()) {
    const entry = entries.get(ref);
    if (entry !== undefined && !force) requireOurs(entry, isOfPatch(entry));
  }
  for (const [ref, { uuid, name_label: nameLabel }] of found) {
    await connection.call('VDI.destroy', ref);
    destroyed.push({ uuid, nameLabel });
  }
}

/** The error of the one that could not be destroyed tells of the ones that are gone. */
function withDestroyed(error: unknown, destroyed: readonly Destroyed[]): unknown {
  if (destroyed.length === 0 || !isPatchVdiError(error)) return error;
  const gone = destroyed.map(({ uuid }) => uuid).join(', ');
  return restate(error, { leftBehind: `destroyed before that: ${gone}` });
}

async function vdiDestroy(
  wanted: readonly string[],
  raw: RawDestroyOptions,
  context: CommandContext,
): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const destroyed: Destroyed[] = [];
  try {
    await withPool(raw, context, async (scene) => {
      await destroyAll(scene, wanted, raw.force === true, destroyed);
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
    .argument('<vdi...>', 'uuids, starts of them, or names')
    .option('--force', 'also one that is of no patch, or a disk of a VM that is halted');
  return addPoolOptions(command).action((wanted: string[], raw: RawDestroyOptions) =>
    vdiDestroy(wanted, raw, context),
  );
}
