// What `build` needs: memory, space beside the payload, and time before the first byte.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GIB, MIB, sh, sizeName } from './context.mjs';
import { median, timed } from './measure.mjs';

/** The largest resident memory of our Node process, in a script that has it once. */
export function peakMebibytes(bench, script) {
  const file = join(bench.disk, 'rss');
  sh(script.replace(bench.command, `/usr/bin/time -f %M -o ${file} ${bench.command}`));
  return Number(readFileSync(file, 'utf8').trim().split('\n').at(-1)) / 1024;
}

/** @returns a row, and what the image has more than the upload */
function memoryRow(bench, bytes, { filesystem = 'ext4', place = bench.memory } = {}) {
  const image = join(place, 'image.vhd');
  const options = `--content-length ${bytes} --allow-unsigned --filesystem ${filesystem} --quiet`;
  const peak = peakMebibytes(
    bench,
    `head -c ${bytes} /dev/zero | ${bench.command} build - ${options} -o ${image}`,
  );
  const overMebibytes = (statSync(image).size - bytes) / MIB;
  rmSync(image);
  return {
    peak,
    overMebibytes,
    row: [sizeText(bytes), filesystem, 'no', peak.toFixed(0), overMebibytes.toFixed(1)],
  };
}

const sizeText = (bytes) => (bytes < MIB ? `${bytes / 1024} KiB` : sizeName(bytes));

function signedRow(bench) {
  const { signed, keyring } = bench.uploads(bench.uploadBytes);
  const image = join(bench.memory, 'image.vhd');
  const { size } = statSync(signed);
  const peak = peakMebibytes(bench, bench.build(signed, size, image, `--keyring ${keyring}`));
  const overMebibytes = (statSync(image).size - size) / MIB;
  rmSync(image);
  return {
    peak,
    row: [sizeText(bench.uploadBytes), 'ext4', 'yes', peak.toFixed(0), overMebibytes.toFixed(1)],
  };
}

/** @returns the sections about memory and about plans */
export function memoryRows(bench) {
  const sizes = [1024, 64 * MIB, 100 * MIB, bench.uploadBytes, ...(bench.full ? [16 * GIB] : [])];
  const plain = sizes.map((bytes) =>
    memoryRow(bench, bytes, { place: bytes > 4 * GIB ? bench.disk : bench.memory }),
  );
  const older = ['ext2', 'ext3'].map((filesystem) => memoryRow(bench, bench.uploadBytes, { filesystem }));
  const signed = signedRow(bench);
  const same = plain[sizes.indexOf(bench.uploadBytes)];
  // The smallest one ends before V8 has grown to its usual size.
  const grown = plain.slice(1).map(({ peak }) => peak);
  bench.record('memory.peak', Math.max(...grown, signed.peak));
  bench.record('memory.spread', Math.max(...grown) - Math.min(...grown));
  bench.record('memory.older', Math.max(...older.map(({ peak }) => peak)) - same.peak);
  bench.record(
    'image.over',
    Math.max(...plain.filter((_, index) => sizes[index] <= GIB).map(({ overMebibytes }) => overMebibytes)),
  );
  return [
    {
      title: 'Memory of our process, and size of the image',
      text: [
        'The largest resident memory of the Node process; the programs that it starts (mke2fs, e2fsck, gpgv) are smaller. An upload through a pipe, into a VHD file.',
      ],
      columns: ['>upload', 'file system', 'signed', '>peak, MiB', '>image larger than upload by, MiB'],
      rows: [...plain, ...older, signed].map(({ row }) => row),
    },
    planSection(bench),
  ];
}

/** An e2fsck that finds everything good at once: the banner of the real one, and its five passes. */
const QUICK_CHECK = `#!/bin/sh
echo "BANNER" >&2
[ "$1" = -V ] || for pass in 1 2 3 4 5; do echo "Pass $pass: not made"; done
`;

/** What makes our command find all programs of a build but that one. */
function withoutCheck(bench) {
  const folder = join(bench.disk, 'no-check');
  mkdirSync(folder);
  sh(`cd ${folder}; for each in mke2fs debugfs gpgv; do ln -s "$(command -v $each)" $each; done`);
  const { stderr } = spawnSync('e2fsck', ['-V'], { encoding: 'utf8' });
  const script = QUICK_CHECK.replace('BANNER', stderr.split('\n')[0]);
  writeFileSync(join(folder, 'e2fsck'), script, { mode: 0o755 });
  return `PATCH_VDI_TOOLS_PATH=${folder}`;
}

function planSection(bench) {
  const cases = [
    ['ext4', '500G', '', 'yes', ''],
    ['ext4', '500G', '', 'no', `${withoutCheck(bench)} `],
    ['ext2', '1M', '500G', 'yes', ''],
    ...(bench.full ? [['ext2', '500G', '', 'yes', '']] : []),
  ];
  const rows = cases.map(([filesystem, length, size, checked, variables]) => {
    const options = `--content-length ${length}${size && ` --size ${size}`} --format vhd --filesystem ${filesystem}`;
    const script = `${variables}${bench.command} plan - ${options} < /dev/null`;
    const walls = Array.from({ length: bench.rounds }, () => timed(script));
    if (checked === 'no') bench.record('plan.500G', median(walls));
    const spread = `${Math.min(...walls).toFixed(2)} to ${Math.max(...walls).toFixed(2)}`;
    return [filesystem, length, size || 'four times', checked, median(walls).toFixed(2), spread];
  });
  return {
    title: 'Plans of large disks',
    text: [
      'The whole of `patch-vdi plan`, as VHD: start-up, template, layout and e2fsck. A build lets e2fsck run beside its first reads.',
    ],
    columns: ['file system', '>payload', '>disk', 'e2fsck', '>wall, s', 'lowest to highest'],
    rows,
  };
}
