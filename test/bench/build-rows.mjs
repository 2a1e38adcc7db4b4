// `patch-vdi build` beside shell pipelines that move the same bytes and do nothing else, and beside itself.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { GIB, sh, sizeName } from './context.mjs';
import { compare, ratioRow, ratiosOf, RATIO_COLUMNS } from './measure.mjs';
import { peakMebibytes } from './memory-rows.mjs';

/** Compares, makes a row of it and keeps the middle ratio under `key`. */
function paired(bench, { what, name, ours, peer, outputs, key, rounds = bench.rounds }) {
  const pairs = compare(ours, peer, rounds, outputs);
  if (key !== undefined) bench.record(key, ratiosOf(pairs).middle);
  return ratioRow(what, name, pairs);
}

function unsignedRows(bench) {
  const bytes = bench.uploadBytes;
  const { upload } = bench.uploads(bytes);
  const what = `unsigned ${sizeName(bytes)} -> VHD`;
  return [['tmpfs', bench.memory], ...(bench.quick ? [] : [['disk', bench.disk]])].flatMap(
    ([place, folder]) => {
      const copy = join(folder, 'copy');
      const image = join(folder, 'image.vhd');
      const common = {
        what: `${what}, ${place}`,
        ours: bench.build(upload, bytes, image, '--allow-unsigned'),
        outputs: [copy, image],
      };
      const plain = {
        name: 'cat > file',
        peer: `cat ${upload} | cat > ${copy}`,
        key: `build.unsigned.${place}`,
      };
      // On a disk we store (fsync) before we name the image; cat does not. Both comparisons are shown.
      const synced = {
        name: 'cat > file; sync',
        peer: `cat ${upload} | cat > ${copy}; sync ${copy}`,
        key: 'build.unsigned.disk.synced',
      };
      return [plain, ...(place === 'disk' ? [synced] : [])].map((peer) =>
        paired(bench, { ...common, ...peer }),
      );
    },
  );
}

function signedRow(bench) {
  const { signed, keyring } = bench.uploads(bench.uploadBytes);
  const copy = join(bench.memory, 'copy');
  const image = join(bench.memory, 'image.vhd');
  return paired(bench, {
    what: `signed ${sizeName(bench.uploadBytes)} -> VHD, tmpfs`,
    name: 'tee file | gpgv',
    ours: bench.build(signed, statSync(signed).size, image, `--keyring ${keyring}`),
    peer: `cat ${signed} | tee ${copy} | gpgv --keyring ${keyring} 2>/dev/null`,
    outputs: [copy, image],
    key: 'build.signed',
  });
}

/** ext2 and ext3 at four times the upload, against ext4: the same upload, the same output. */
function filesystemRows(bench) {
  const bytes = bench.uploadBytes;
  const { upload } = bench.uploads(bytes);
  const image = join(bench.memory, 'image.vhd');
  const other = join(bench.memory, 'other.vhd');
  return ['ext2', 'ext3'].flatMap((filesystem) =>
    ['vhd', 'raw'].map((format) => {
      const options = `--allow-unsigned --format ${format}`;
      return paired(bench, {
        what: `${filesystem}, ${sizeName(bytes)} -> ${format}, tmpfs`,
        name: 'the same with ext4',
        ours: bench.build(upload, bytes, image, `${options} --filesystem ${filesystem}`),
        peer: bench.build(upload, bytes, other, options),
        outputs: [image, other],
        key: `build.${filesystem}.${format}`,
      });
    }),
  );
}

/** The same bytes into the same disk, with and without a length: without one, the template is made at the end. */
function unknownLengthRow(bench) {
  const bytes = bench.uploadBytes;
  const { upload } = bench.uploads(bytes);
  const image = join(bench.memory, 'image.vhd');
  const other = join(bench.memory, 'other.vhd');
  return paired(bench, {
    what: `length unknown, ${sizeName(bytes)} -> VHD, tmpfs`,
    name: 'with its length',
    ours: `cat ${upload} | ${bench.command} build - --allow-unsigned --quiet -o ${image}`,
    peer: bench.build(upload, bytes, other, '--allow-unsigned --size 4G'),
    outputs: [image, other],
    key: 'build.unknown-length',
  });
}

/** The first GiB of 500: with the whole plan, and bounded in time. It ends as an upload that is too short. */
function sliceRow(bench) {
  const slice = (bench.quick ? 1 : 8) * GIB;
  const stream = (length, code) =>
    `head -c ${slice} /dev/zero | { r=0; ${bench.command} build - --content-length ${length} --allow-unsigned --format vhd --quiet 2>/dev/null || r=$?; [ $r = ${code} ]; } > /dev/null`;
  const whole = stream(String(slice), 0);
  const first = stream('500G', 4);
  const peak = (script) => peakMebibytes(bench, script);
  bench.record('build.slice.memory', peak(first) - peak(whole));
  return paired(bench, {
    what: `the first ${sizeName(slice)} of 500 GiB -> VHD to /dev/null`,
    name: `${sizeName(slice)} of ${sizeName(slice)}`,
    ours: first,
    peer: whole,
    outputs: [],
    key: 'build.slice',
    rounds: bench.quick ? 1 : 3,
  });
}

function largeRow(bench) {
  const upload = join(bench.disk, 'large');
  const copy = join(bench.disk, 'copy');
  const image = join(bench.disk, 'image.vhd');
  sh(`head -c ${8 * GIB} /dev/zero > ${upload}`);
  const row = paired(bench, {
    what: 'unsigned 8 GiB -> VHD, disk',
    name: 'cat > file; sync',
    ours: bench.build(upload, 8 * GIB, image, '--allow-unsigned'),
    peer: `cat ${upload} | cat > ${copy}; sync ${copy}`,
    outputs: [copy, image],
    key: 'build.unsigned.large',
    rounds: 3,
  });
  sh(`rm ${upload}`);
  return row;
}

/** @returns the section "build beside plain copies" */
export function buildRows(bench) {
  const rows = [
    ...unsignedRows(bench),
    signedRow(bench),
    ...filesystemRows(bench),
    unknownLengthRow(bench),
    sliceRow(bench),
    ...(bench.full ? [largeRow(bench)] : []),
  ];
  return [
    {
      title: 'build beside plain copies',
      text: [
        'The upload comes through a pipe (`cat upload |`) on both sides. The others only move its bytes: they make no file system, no VHD and, but for gpgv, check nothing.',
      ],
      columns: RATIO_COLUMNS,
      rows,
    },
  ];
}
