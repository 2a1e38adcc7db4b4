import { expect, test } from 'vitest';
import { superblockField } from '../oracles/dumpe2fs.js';
import { convertToRaw } from '../oracles/qemu-img.js';
import { requireTool } from '../oracles/require-tool.js';
import { mustBuild, runCli } from './cli.js';
import { difference } from './judges/same-bytes.js';
import { uploadBytes } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace, type Workspace } from './workspace.js';

interface Made {
  readonly image: string;
  readonly filesystemUuid: string;
  readonly vhdUuid: string | undefined;
}

async function build(
  work: Workspace,
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Made> {
  const upload = work.input('upload', uploadBytes(70_001));
  const image = work.output(name);
  const { stdout } = await mustBuild(work, [upload, '-o', image, '--allow-unsigned', '--json', ...args], {
    env,
  });
  const { filesystemUuid, vhdUuid } = JSON.parse(stdout) as Made;
  return { image, filesystemUuid, vhdUuid };
}

const EPOCH = ['--source-date-epoch', '1700000000'];

test.for(FORMATS)(
  '%s: the same epoch twice gives the same bytes, by option or by environment',
  async (format) => {
    const work = workspace();
    const first = await build(work, `1.${format}`, EPOCH);
    const second = await build(work, `2.${format}`, EPOCH);
    const third = await build(work, `3.${format}`, [], { SOURCE_DATE_EPOCH: '1700000000' });
    expect(difference(second.image, first.image)).toBeUndefined();
    expect(difference(third.image, first.image)).toBeUndefined();
  },
);

test.for(FORMATS)('%s: another epoch, another image', async (format) => {
  const work = workspace();
  const first = await build(work, `1.${format}`, EPOCH);
  // The option wins over the environment.
  const second = await build(work, `2.${format}`, ['--source-date-epoch', '1700000001'], {
    SOURCE_DATE_EPOCH: '1700000000',
  });
  expect(second.filesystemUuid).not.toBe(first.filesystemUuid);
  if (format === 'vhd') expect(second.vhdUuid).not.toBe(first.vhdUuid);
  expect(difference(second.image, first.image)).toBeDefined();
});

test.for(FORMATS)('%s: without an epoch no two images are alike', async (format) => {
  const work = workspace();
  const first = await build(work, `1.${format}`, []);
  const second = await build(work, `2.${format}`, []);
  expect(second.filesystemUuid).not.toBe(first.filesystemUuid);
  expect(difference(second.image, first.image)).toBeDefined();
});

test('dumpe2fs finds the UUID, label and time that were asked for', async (context) => {
  requireTool(context, 'dumpe2fs', 'qemu-img');
  const work = workspace();
  const uuid = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';
  const { image, filesystemUuid } = await build(work, 'x.vhd', [
    ...EPOCH,
    '--uuid',
    uuid.toUpperCase(),
    '--label',
    'Größe 14 bytes',
  ]);
  convertToRaw(image, `${image}.raw`);
  expect(filesystemUuid).toBe(uuid);
  expect(superblockField(`${image}.raw`, 'Filesystem UUID')).toBe(uuid);
  expect(superblockField(`${image}.raw`, 'Filesystem volume name')).toBe('Größe 14 bytes');
  expect(superblockField(`${image}.raw`, 'Filesystem created')).toBe('Tue Nov 14 22:13:20 2023');
});

test.for([
  ['--source-date-epoch', '0'],
  ['--source-date-epoch', '4294967296'],
  ['--source-date-epoch', 'yesterday'],
  ['--source-date-epoch', '-1'],
  ['--uuid', 'time'],
  ['--uuid', '00000000-0000-0000-0000-000000000000'],
  ['--vhd-uuid', '6ba7b810-9dad-41d1-80b4-00c04fd430c8x'],
  ['--label', 'seventeen letters'],
  ['--label', 'ten € €'.repeat(2)],
  ['--label', 'a\u001b[31mb'],
] as const)('%s %j is refused before anything is touched', async ([option, value]) => {
  const work = workspace();
  const args = ['build', work.input('u', 'x'), '-o', work.output('x.vhd'), '--allow-unsigned', option, value];
  const { exitCode, stderr } = await runCli(work, args);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('expected');
  expect(work.outputs()).toEqual([]);
});
