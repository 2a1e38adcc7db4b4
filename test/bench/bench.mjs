// npm run bench: whole processes side by side in one run. Nothing is asserted here.
//
//   npm run bench               the report: docs/benchmarks.md and docs/benchmarks.svg
//   npm run bench -- --full     the same with 8 GiB and 16 GiB, and every way to each format
//   npm run bench -- --quick    small uploads, one round, printed only
//   npm run bench -- --inspect  one part only, printed only: --peers --build --memory --plot --inspect --server ...
//   npm run bench -- --output F the report goes to F (and the plot beside it)
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { createBench } from './context.mjs';
import { machineRows } from './machine.mjs';
import { sectionText, table, wrapped } from './markdown.mjs';
import { PARTS } from './parts.mjs';
import { plotSvg } from './plot-svg.mjs';
import { targetSection } from './targets.mjs';

const flags = ['quick', 'full', ...PARTS.map(({ name }) => name)];
const { values } = parseArgs({
  options: {
    ...Object.fromEntries(flags.map((name) => [name, { type: 'boolean', default: false }])),
    output: { type: 'string' },
  },
});
const chosen = PARTS.filter(({ name }) => values[name]);
const parts = chosen.length > 0 ? chosen : PARTS;
const docs = join(import.meta.dirname, '../../docs/benchmarks.md');
const report = values.output ?? (values.quick || chosen.length > 0 ? undefined : docs);

const minutesSince = (start) => ((Date.now() - start) / 60_000).toFixed(1);

/** @returns the part as Markdown, and the points of the plot if it has some */
async function measurePart(bench, { title, measure }) {
  const start = Date.now();
  bench.say(title);
  const sections = await measure(bench);
  bench.say(`  ${minutesSince(start)} minutes`);
  const points = sections.find((section) => section.points !== undefined)?.points;
  return { text: [`## ${title}`, ...sections.map((section) => sectionText(section))].join('\n\n'), points };
}

function head(bench, minutes) {
  const options = process.argv
    .slice(2)
    .filter((word) => word.startsWith('--') && !word.startsWith('--output'));
  const commandLine = `npm run bench${options.length > 0 ? ` -- ${options.join(' ')}` : ''}`;
  return [
    '# Benchmarks',
    wrapped(
      `Made by \`${commandLine}\` in ${minutes} minutes; do not edit. Whole processes, our command and the others in turn in one run. Times depend on the machine and on what else it does; ratios of one round less so: medians, with the lowest and the highest.`,
    ),
    table(
      ['machine', ''],
      machineRows({ memory: bench.memory, disk: bench.disk, commandLine: `\`${commandLine}\`` }),
    ),
  ].join('\n\n');
}

const start = Date.now();
const bench = createBench(values);
const measured = [];
const picture = report?.replace(/(\.md)?$/, '.svg');

/** With what is measured so far: a run takes long, and whoever stops it keeps what he has waited for. */
function textSoFar() {
  const isPlotted = measured.some((part) => part.points !== undefined) && picture !== undefined;
  const missing = parts.slice(measured.length).map(({ title }) => title);
  return [
    head(bench, minutesSince(start)),
    ...(missing.length > 0 ? [`**Stopped before its end. Missing: ${missing.join('; ')}.**`] : []),
    sectionText(targetSection(bench, parts === PARTS), 2),
    ...(isPlotted ? [`![Time and memory against the size of the upload](${basename(picture)})`] : []),
    ...measured.map((part) => part.text),
  ].join('\n\n');
}

for (const part of parts) {
  measured.push(await measurePart(bench, part));
  if (report === undefined) continue;
  writeFileSync(report, `${textSoFar()}\n`);
  const { points } = measured.at(-1);
  if (points !== undefined) writeFileSync(picture, plotSvg(points));
}
if (report === undefined) process.stdout.write(`${textSoFar()}\n`);
else bench.say(`written: ${basename(report)}`);
