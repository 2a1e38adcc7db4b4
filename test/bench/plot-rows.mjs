// Time and memory against the size of the upload, for the plot.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GIB, MIB, sh, sizeName } from './context.mjs';
import { measureInTurn, median } from './measure.mjs';
import { peersOf } from './peers.mjs';

const CHUNK_BYTES = 64 * MIB;

/** Powers of 4, from 1 MiB. */
function sizesFor({ quick }) {
  const last = quick ? 64 * MIB : 16 * GIB;
  const sizes = [];
  for (let bytes = MIB; bytes <= last; bytes *= 4) sizes.push(bytes);
  return sizes;
}

/** A pipe with that many bytes, none of them a block of zeros: random ones, repeated. */
const stream = (chunk, bytes) =>
  `{ for i in $(seq ${Math.ceil(bytes / CHUNK_BYTES)}); do cat ${chunk}; done; } 2>/dev/null | head -c ${bytes}`;

function pointsOf(bench, bytes, chunk) {
  const folders = ['temporary', 'output'].map((name) => join(bench.disk, name));
  const clean = () =>
    folders.forEach((folder) => {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
    });
  const [temporary, outputs] = folders;
  const output = join(outputs, 'image.vhd');
  const source = stream(chunk, bytes);
  const ours = `${source} | ${bench.command} build - --content-length ${bytes} --allow-unsigned --quiet -o ${output}`;
  // The others' scripts begin with `cat FILE |`: the stream takes its place.
  const job = { source: '-', bytes, diskBytes: Math.max(4 * bytes, 16 * MIB), temporary, output };
  const [{ script }] = peersOf('vhd', job);
  const peer = `${script.replace('cat - |', () => `${source} |`)}\nsync ${output}`;
  // The other needs a disk for three times the upload, and minutes.
  const wanted = bytes <= 4 * GIB || bench.full ? [ours, peer] : [ours];
  const ways = wanted.map((text) => ({ script: `set -e; ${text}`, clean }));
  const rounds = bench.quick || bytes >= GIB ? 1 : 3;
  const runs = measureInTurn(ways, rounds);
  const middle = (side, what) => median(runs[side].map((run) => run[what]));
  return wanted.map((_, side) => ({ wall: middle(side, 'wall'), peak: middle(side, 'peakMebibytes') }));
}

/** @returns the section, with `series` for the picture */
export function plotRows(bench) {
  const chunk = join(bench.memory, 'chunk');
  sh(`head -c ${CHUNK_BYTES} /dev/urandom > ${chunk}`);
  const points = sizesFor(bench).map((bytes) => {
    bench.say(`  ${sizeName(bytes)}`);
    const [ours, peer] = pointsOf(bench, bytes, chunk);
    return { bytes, ours, peer };
  });
  rmSync(chunk);
  const two = (point) => (point === undefined ? ['', ''] : [point.wall.toFixed(2), point.peak.toFixed(0)]);
  return [
    {
      title: 'Time and memory against the size of the upload',
      text: [
        'An unsigned upload from a pipe into a dynamic VHD on the disk, stored there (fsync, sync) when the time is taken. Random bytes, 64 MiB of them repeated. Below 1 GiB medians of three, from there on one run; the other way above 4 GiB only with `--full`.',
      ],
      columns: ['>upload', '>patch-vdi, s', '>peak, MiB', '>mke2fs -d, qemu-img, s', '>peak, MiB'],
      rows: points.map(({ bytes, ours, peer }) => [sizeName(bytes), ...two(ours), ...two(peer)]),
      points,
    },
  ];
}
