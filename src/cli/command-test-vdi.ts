import { join } from 'node:path';
import { Command, Option } from 'commander';
import { existsSync } from 'node:fs';
import { PatchVdiError } from '../errors.js';
import { IMAGE_FORMATS } from '../plan/plan.js';
import { KEY_FILES } from '../kit/key-folder.js';
import { makeTestVdi, type MadeVdi } from '../kit/make-vdi.js';
import { openSigner } from '../kit/open-signer.js';
import { FILESYSTEMS } from '../tools/mke2fs.js';
import {
  addPatchOptions,
  readPatchOptions,
  refuseStandardOutput,
  type RawPatchOptions,
} from './command-test-patch.js';
import { testFault } from './test-fault.js';
import { environmentOfProcess } from './environment.js';
import { byteSize, readImageOptions } from './image-options.js';
import type { CommandContext } from './program.js';
import { summaryLines } from './summary.js';
import { columnsOf, fieldLines } from './text.js';

interface RawVdiOptions extends RawPatchOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly size: string;
  readonly sign?: string;
  readonly fault?: string;
  readonly format?: string;
  readonly filesystem?: string;
  readonly diskSize?: string;
  readonly label?: string;
  readonly fsUuid?: string;
  readonly vhdUuid?: string;
  readonly sourceDateEpoch?: string;
  readonly json?: boolean;
}

const NOTES = `
Without --sign the key is made from the seed, and its keyring is put beside the
image as FILE.keyring.gpg. With --seed and --source-date-epoch: same bytes.`;

/** A folder of `test key` has its keyring as a file; any other gpg home is a keyring itself. */
function keyringOf(folder: string): string {
  const file = join(folder, KEY_FILES.keyring);
  return existsSync(file) ? file : folder;
}

async function testVdi(raw: RawVdiOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  refuseStandardOutput(raw.output);
  const { diskSize, fsUuid, ...rest } = raw;
  const shape = {
    ...(rest.format === undefined ? {} : { format: rest.format }),
    ...(rest.filesystem === undefined ? {} : { filesystem: rest.filesystem }),
    ...(diskSize === undefined ? {} : { size: diskSize }),
    ...(rest.label === undefined ? {} : { label: rest.label }),
    ...(fsUuid === undefined ? {} : { uuid: fsUuid }),
    ...(rest.vhdUuid === undefined ? {} : { vhdUuid: rest.vhdUuid }),
    ...(rest.sourceDateEpoch === undefined ? {} : { sourceDateEpoch: rest.sourceDateEpoch }),
  };
  const image = readImageOptions(shape, raw.output);
  const design = readPatchOptions(raw);
  const patchBytes = byteSize('--size', raw.size) ?? 0;
  const environment = environmentOfProcess();
  const abortSignal = context.interrupts.signal;
  if (raw.fault !== undefined) {
    refuseWithFault(raw);
    const force = raw.force === true;
    const wantsJson = raw.json === true;
    const { fault: faultName, output: path } = raw;
    return await testFault({ faultName, path, force, design, patchBytes, image, wantsJson }, context);
  }
  const signer =
    raw.sign === undefined
      ? undefined
      : await openSigner(raw.sign, { environment, signedAt: image.sourceDateEpoch, abortSignal });
  try {
    const made = await makeTestVdi({
      design,
      patchBytes,
      path: raw.output,
      force: raw.force === true,
      image,
      signing: signer && { signer, keyring: keyringOf(raw.sign ?? '') },
      environment,
      abortSignal,
    });
    const { seed, info } = design;
    if (raw.json === true) {
      const { keyring, fingerprint, patch } = made;
      context.printJson({
        ok: true,
        ...made.image,
        keyring,
        fingerprint,
        seed,
        patch: { ...info, ...patch },
      });
    } else process.stdout.write(`${vdiLines(made, seed, info.uuid).join('\n')}\n`);
  } finally {
    await signer?.dispose();
  }
}

function refuseWithFault({ sign, label, fsUuid, vhdUuid }: RawVdiOptions): void {
  const others = [
    ['--sign', sign],
    ['--label', label],
    ['--fs-uuid', fsUuid],
    ['--vhd-uuid', vhdUuid],
  ] as const;
  const other = others.find(([, value]) => value !== undefined)?.[0];
  if (other === undefined) return;
  throw new PatchVdiError('usage', `--fault and ${other} do not go together`, {
    context: {
      found: 'both',
      expected: 'one of them: keys and identity of a faulty image come from the seed',
    },
  });
}

function vdiLines(made: MadeVdi, seed: string, uuid: string): string[] {
  const columns = columnsOf(process.stdout);
  return [
    ...summaryLines(made.image, columns),
    ...fieldLines(
      [
        ['keyring', made.keyring],
        ['patch', `UUID ${uuid}`],
        ['seed', seed],
      ],
      columns,
    ),
  ];
}

export function testVdiCommand(context: CommandContext): Command {
  const command = new Command('vdi')
    .summary('make key, patch and image in one go')
    .description('Makes a test patch and builds it into a sealed disk image, verified like any other upload.')
    .requiredOption('-o, --output <file>', 'the image: a new file')
    .option('--size <size>', 'exact size of the patch, e.g. 200M', '1M')
    .option('--sign <folder>', 'the key: a folder of test key, or any gpg home; default: one from the seed')
    .option('--fault <fault>', 'put one thing wrong into it; "test faults" lists them all')
    .option('--force', 'replace existing files')
    .addOption(new Option('--format <format>', 'default: by the ending of the output').choices(IMAGE_FORMATS))
    .addOption(new Option('--filesystem <name>', 'of the disk; default: ext4').choices(FILESYSTEMS))
    .option('--disk-size <size>', 'size of the disk; default: 4 x the patch')
    .option('--label <text>', 'label of the file system')
    .option('--fs-uuid <uuid>', 'UUID of the file system')
    .option('--vhd-uuid <uuid>', 'UUID of the VHD');
  return addPatchOptions(command)
    .option('--source-date-epoch <seconds>', 'time of key, signature and image')
    .option('--json', 'print one object')
    .addHelpText('after', NOTES)
    .action((raw: RawVdiOptions) => testVdi(raw, context));
}
