// Our command beside other ways to the same disk, each round all of them in turn.
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileDigest, sizeText, verdictOnDisk, writtenBytes } from './audit.mjs';
import { MIB, sizeName } from './context.mjs';
import { measured, measureInTurn, median } from './measure.mjs';
import { findGuestfs, FORMATS, LIMITS, peersOf } from './peers.mjs';

/** As the size rule has it: four times, in steps of 2 MiB. */
const diskBytesFor = (bytes) => Math.ceil(Math.max(4 * bytes, 16 * MIB) / (2 * MIB)) * 2 * MIB;

const COLUMNS = [
  'format',
  'way',
  '>wall, s',
  '>beside ours',
  '>CPU, s',
  '>peak',
  '>temporary',
  '>output',
  'verdict',
];

/** Ours and the others for one format: one table's part. */
function formatRows(bench, format, upload, guestfs) {
  const temporary = join(bench.memory, 'temporary');
  const output = join(bench.memory, 'output', 'image');
  const clean = () => {
    for (const folder of [temporary, join(bench.memory, 'output')]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
    }
  };
  const job = {
    ...upload,
    diskBytes: diskBytesFor(upload.bytes),
    temporary,
    output,
    guestfs,
    full: bench.full,
  };
  const check = upload.keyring === undefined ? '--allow-unsigned' : `--keyring ${upload.keyring}`;
  const ours = bench.build(upload.source, upload.bytes, output, `${check} --format ${format}`);
  const ways = [{ name: 'patch-vdi', script: ours }, ...peersOf(format, job)].map(
    ({ name, once, script }) => ({
      name,
      once,
      // What a program puts into its folder for temporary files is to be seen there.
      script: `set -e; export TMPDIR=${temporary}; ${script}`,
      clean,
    }),
  );
  const rounds = bench.quick ? 1 : upload.bytes > 256 * MIB ? 2 : 3;
  const paired = ways.filter(({ once }) => !once);
  const runs = measureInTurn(paired, rounds);
  const digest = fileDigest(upload.source);
  const judged = ways.map((way) => {
    bench.say(`    ${format}, ${way.name}`);
    way.clean();
    const found = way.once
      ? { runs: [measured(way.script)] }
      : { runs: runs[paired.indexOf(way)], written: writtenBytes(way.script, join(bench.memory, 'output')) };
    const row = rowOf(format, way.name, found, runs[0]);
    row.push(sizeText(output), verdictOnDisk(output, format, digest));
    keep(bench, { name: way.name, format, upload, ours: runs[0], ...found });
    return row;
  });
  clean();
  return judged;
}

/** `written` is missing for what was run once only. */
function rowOf(format, name, { runs, written }, ours) {
  const ratios = runs.map(({ wall }, round) => wall / ours[round].wall);
  const spread = `${median(ratios).toFixed(1)} (${Math.min(...ratios).toFixed(1)} to ${Math.max(...ratios).toFixed(1)})`;
  const middle = (what) => median(runs.map((run) => run[what]));
  return [
    format,
    name,
    middle('wall').toFixed(2),
    name === 'patch-vdi' ? '1' : spread,
    middle('processor').toFixed(2),
    middle('peakMebibytes').toFixed(0),
    written === undefined ? 'not seen' : (written.temporary / MIB).toFixed(1),
  ];
}

/** For the targets, which are about the largest unsigned upload; the temporary bytes of all of ours count. */
function keep(bench, { name, format, upload, runs, ours, written }) {
  if (name === 'patch-vdi') {
    bench.record(
      'temporary.ours',
      Math.max(written.temporary / MIB, bench.figures.get('temporary.ours') ?? 0),
    );
  }
  if (name === 'mke2fs -d, qemu-img' && format === 'vhd' && upload.keyring === undefined) {
    bench.record('peer.mke2fs.vhd', median(runs.map(({ wall }, round) => wall / ours[round].wall)));
  }
}

/** @returns a section for each size, signed and not, and one that says what was measured and what the others lack */
export function peerRows(bench) {
  const guestfs = bench.quick ? { reason: 'left out of quick runs' } : findGuestfs();
  const sizes = bench.quick ? [32 * MIB] : [100 * MIB, 1024 * MIB];
  const sections = sizes.flatMap((bytes) => {
    const { upload, signed, keyring } = bench.uploads(bytes);
    const cases = [
      { title: `${sizeName(bytes)}, not signed`, source: upload },
      { title: `${sizeName(bytes)}, signed`, source: signed, keyring },
    ];
    return cases.map(({ title, source, keyring: ring }) => {
      bench.say(`  ${title}`);
      const of = { source, keyring: ring, bytes: statSync(source).size };
      // A fixed VHD is a raw disk with a footer: what a signature costs is seen there.
      const formats =
        ring === undefined || bench.full ? FORMATS : FORMATS.filter((format) => format !== 'vhd-fixed');
      const rows = formats.flatMap((format) => formatRows(bench, format, of, guestfs));
      return { title, columns: COLUMNS, rows };
    });
  });
  return [...sections, explanation(guestfs)];
}

function explanation(guestfs) {
  const virtual = guestfs.reason ?? (guestfs.emulated ? 'runs, emulated' : 'runs, with KVM');
  return {
    title: 'What these columns say, and what the others do not do',
    notes: [
      'All on tmpfs, the upload through a pipe, into a disk of four times its size. Medians; "beside ours" is the time of a way / ours of the same round, with lowest and highest.',
      'CPU: user and system time of all processes. Peak, in MiB: resident memory of the largest process (GNU time); what the kernel keeps of files is not counted.',
      'Temporary, in MiB: bytes that the processes hand to the kernel for files other than the output, seen by strace in a run of its own (not of what takes long: one run); what only is renamed or unlinked later counts as well.',
      'Output, in MiB: length of the file, and in brackets what it takes where it has holes. Verdict: `e2fsck -fn` on the raw disk (VHDs through `qemu-img convert`), and the SHA-256 of `patch` as `debugfs` reads it.',
      ...LIMITS,
      `virt-make-fs on this machine: ${virtual}.`,
    ],
  };
}
