// npm run interop: every kind of image before every independent reader that can be had from Debian.
//
//   npm run interop                       writes docs/interoperability.md
//   npm run interop -- --allow-missing    also where readers are not installed
//   npm run interop -- --json             prints all verdicts and writes nothing
//   npm run interop -- --readers a,b      only these
//
// Exit code 1: a reader got other bytes than those that went in, nobody could read an image, or readers are missing.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { commit, versionOf } from '../bench/machine.mjs';
import { createImages, FAULTS, FILESYSTEMS, FORMATS } from './table/images.mjs';
import { missing, READERS } from './table/readers.mjs';
import { reportText } from './table/report.mjs';
import { outcomeOf, reasonIn } from './table/run-reader.mjs';

const { values } = parseArgs({
  options: {
    'allow-missing': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    readers: { type: 'string' },
  },
});
const names = values.readers?.split(',') ?? READERS.map(({ name }) => name);
const unknown = names.filter((name) => !READERS.some((reader) => reader.name === name));
if (unknown.length > 0) throw new Error(`no such reader: ${unknown.join(', ')}`);

const folder = mkdtempSync(join(tmpdir(), 'pv-interop-table-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

/** A folder of its own for each reading, so that nothing is left of an earlier one. */
let readings = 0;
function ask(reader, path, image, digest) {
  const reason = missing(reader);
  if (reason !== undefined) return { outcome: reason, said: '' };
  const own = join(folder, `reading-${(readings += 1)}`);
  mkdirSync(own);
  const result = reader.read(path, { ...image, folder: own });
  const hidden = [path, own, folder];
  if (result.outcome === undefined) return outcomeOf(result, digest, hidden);
  return { outcome: result.outcome, said: reasonIn(result.words ?? '', hidden) };
}

const readers = READERS.filter(({ name }) => names.includes(name));
const images = createImages(folder);

/** What each of them makes of an image, which is removed then. */
function verdicts(image, { path, digest }, who) {
  const found = who.map((reader) => [reader.name, ask(reader, path, image, digest)]);
  rmSync(path);
  return { ...image, verdicts: Object.fromEntries(found) };
}

const kinds = FORMATS.flatMap((format) => FILESYSTEMS.map((filesystem) => ({ format, filesystem })));
const good = kinds.map((image) => verdicts(image, images.good(image), readers));
const damaged = FAULTS.map((image) => {
  const who = readers.filter(({ layer }) => layer === 'both' || layer === image.layer);
  return verdicts(image, images.damaged(image), who);
});

const result = {
  date: new Date().toISOString().slice(0, 10),
  commit: commit(),
  uploadBytes: images.uploadBytes,
  readers: readers.map((reader) => ({
    name: reader.name,
    package: reader.package,
    layer: reader.layer,
    // A kernel's own name may say where it runs: its number is enough.
    version: (versionOf(...reader.version) ?? '').replace(/^(\d+\.\d+\.\d+)-.*/, reader.root ? '$1' : '$&'),
    missing: missing(reader),
  })),
  good,
  damaged,
};
if (values.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
else writeFileSync(join(import.meta.dirname, '../../docs/interoperability.md'), reportText(result));

const outcomes = (row) => Object.values(row.verdicts).map(({ outcome }) => outcome);
const failures = [
  ...good
    .filter((row) => outcomes(row).includes('wrong'))
    .map((row) => `${row.format}, ${row.filesystem}: other bytes`),
  ...good
    .filter((row) => !outcomes(row).includes('reads'))
    .map((row) => `${row.format}, ${row.filesystem}: nobody reads it`),
  ...(values['allow-missing']
    ? []
    : result.readers
        .filter((reader) => reader.missing !== undefined)
        .map((reader) => `${reader.name}: ${reader.missing}`)),
];
failures.forEach((failure) => process.stderr.write(`${failure}\n`));
process.exitCode = failures.length > 0 ? 1 : 0;
