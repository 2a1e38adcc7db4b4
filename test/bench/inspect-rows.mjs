// Images of the same upload, looked into and read out again; and the conformance kit.
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sh, sizeName } from './context.mjs';
import { compare, ratioRow, ratiosOf, RATIO_COLUMNS, timed } from './measure.mjs';
import { peakMebibytes } from './memory-rows.mjs';

/** Rows of `inspect` and `extract` on an image of that format. */
function formatRows(bench, format) {
  const { upload } = bench.uploads(bench.uploadBytes);
  const size = sizeName(bench.uploadBytes);
  const copy = join(bench.memory, 'copy');
  const image = join(bench.memory, `inspected.${format}`);
  sh(bench.build(upload, bench.uploadBytes, image, '--allow-unsigned'));
  const looked = compare(`${bench.command} inspect ${image}`, `${process.execPath} -e 0`, bench.rounds, []);
  bench.record(`inspect.${format}`, ratiosOf(looked).middle);
  const rows = [ratioRow(`inspect a ${format} with ${size}`, "Node's own start", looked)];
  for (const output of [`-o ${copy}`, `> ${copy}`]) {
    const ours = `${bench.command} extract ${image} --quiet ${output}`;
    const pairs = compare(ours, `cat ${upload} > ${copy}`, bench.rounds, [copy]);
    const { middle } = ratiosOf(pairs);
    // A rate: what cat needs / what we need. The worse of the two ways counts.
    const key = `extract.rate.${format}`;
    bench.record(key, Math.min(1 / middle, bench.figures.get(key) ?? Infinity));
    rows.push(
      ratioRow(`extract ${size} from a ${format}, ${output.slice(0, 2).trim()}`, 'cat upload > file', pairs),
    );
  }
  bench.record(
    `extract.memory.${format}`,
    peakMebibytes(bench, `${bench.command} extract ${image} --quiet > /dev/null`),
  );
  rmSync(image);
  return rows;
}

function verifyRow(bench) {
  const { signed, keyring } = bench.uploads(bench.uploadBytes);
  const image = join(bench.memory, 'inspected.vhd');
  sh(bench.build(signed, statSync(signed).size, image, `--keyring ${keyring}`));
  const ours = `${bench.command} verify ${image} --keyring ${keyring}`;
  const peer = `gpgv --keyring ${keyring} ${signed} 2>/dev/null; sha256sum ${signed}`;
  const pairs = compare(ours, peer, bench.rounds, []);
  rmSync(image);
  return ratioRow(`verify a VHD with a signed ${sizeName(bench.uploadBytes)}`, 'gpgv; sha256sum', pairs);
}

/** `test suite`: once, as a person would. */
function suiteSection(bench) {
  const folder = join(bench.memory, 'suite');
  const wall = timed(`${bench.command} test suite -o ${folder} --seed 7`);
  rmSync(folder, { recursive: true });
  bench.record('suite', wall);
  return {
    title: 'The conformance kit',
    text: [`\`patch-vdi test suite\` with all formats and file systems: ${wall.toFixed(1)} s.`],
  };
}

/** @returns the sections about reading */
export function inspectRows(bench) {
  const rows = [...formatRows(bench, 'vhd'), ...formatRows(bench, 'raw'), verifyRow(bench)];
  const peaks = ['vhd', 'raw'].map(
    (format) => `${bench.figures.get(`extract.memory.${format}`).toFixed(0)} MiB (${format})`,
  );
  return [
    {
      title: 'inspect, extract and verify',
      text: ['On tmpfs. The image is four times as large as the upload in it.'],
      columns: RATIO_COLUMNS,
      rows,
      notes: [`peak memory of extract: ${peaks.join(', ')}`],
    },
    ...(bench.quick ? [] : [suiteSection(bench)]),
  ];
}
