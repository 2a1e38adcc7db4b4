// The verdicts -> docs/interoperability.md.
import { list, table, wrapped } from '../../bench/markdown.mjs';

const MEANINGS = [
  '**reads**: `patch` comes out with the SHA-256 that the upload had. qemu-img and libvhdi read disks, not files: debugfs takes the file from what they make of it.',
  '**clean**: e2fsck, which reads no files, has nothing to say.',
  '**complains**: the same bytes (e2fsck: none), and a word that something is wrong.',
  '**refuses**: an error, and nothing comes out. Before a good image this means that the reader does not know the format: e2fsck, debugfs, grub and the kernel know no VHD (a fixed one has its file system in front, so they read it all the same), and libvhdi knows nothing else.',
  '**WRONG**: other bytes, and no word about it.',
  '**-**: not asked, as it does not look at that layer.',
];

const cell = (verdict) =>
  verdict === undefined ? '-' : verdict.outcome === 'wrong' ? 'WRONG' : verdict.outcome;

/** The words of the refusals, each once for a reader, with where they were said. */
function reasons(rows, placeOf) {
  const found = new Map();
  for (const row of rows) {
    for (const [reader, { outcome, said }] of Object.entries(row.verdicts)) {
      if (outcome !== 'refuses' && outcome !== 'complains') continue;
      const key = `${reader}\n${said || '(no word)'}`;
      found.set(key, [...(found.get(key) ?? []), placeOf(row)]);
    }
  }
  return [...found]
    .map(([key, places]) => [...key.split('\n'), [...new Set(places)].join(', ')])
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([reader, said, places]) => `${reader} (${places}): \`${said.replaceAll('`', "'")}\``);
}

/** Of the damages that a reader was asked about: how many it noticed. */
function noticedBy(name, damaged) {
  const asked = damaged.map((row) => row.verdicts[name]?.outcome).filter((outcome) => outcome !== undefined);
  const noticed = asked.filter((outcome) => outcome === 'refuses' || outcome === 'complains');
  return noticed.length === 0 ? 'does not check' : `${noticed.length} of ${asked.length}`;
}

export function reportText({ date, commit, readers, good, damaged, uploadBytes }) {
  const names = readers.map(({ name }) => name);
  const present = readers.filter((reader) => reader.missing === undefined);
  const cells = (row) => names.map((name) => cell(row.verdicts[name]));
  const parts = [
    '# Interoperability',
    wrapped(
      `Made by \`npm run interop\` on ${date}, commit ${commit}; do not edit. Every kind of image that \`build\` makes, with a signed upload of ${uploadBytes} bytes in it, before programs that know nothing of patch-vdi.`,
    ),
    table(
      ['format', 'file system', ...names],
      good.map((row) => [row.format, row.filesystem, ...cells(row)]),
    ),
    list(MEANINGS),
    '## Readers',
    table(
      ['reader', 'Debian package', 'version here', 'damages noticed'],
      readers.map((reader) => [
        reader.name,
        reader.package,
        reader.missing ?? reader.version,
        present.includes(reader) ? noticedBy(reader.name, damaged) : '',
      ]),
    ),
    '## Damaged images',
    wrapped(
      'One thing is wrong in each (`patch-vdi test faults` tells what). A reader that gives out the right bytes does not check that thing, which is no fault of a tool that is there to rescue files.',
    ),
    table(
      ['damage', ...names],
      damaged.map((row) => [
        row.filesystem === 'ext4' ? row.fault : `${row.fault}, ${row.filesystem}`,
        ...cells(row),
      ]),
    ),
    '## What they said',
    'Before good images:',
    list(reasons(good, (row) => row.format)),
    'Before damaged ones:',
    list(reasons(damaged, (row) => row.fault)),
  ];
  return `${parts.join('\n\n')}\n`;
}
