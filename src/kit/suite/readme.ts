import type { Manifest, ManifestImage } from './manifest.js';

/** Text in a cell of a Markdown table. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

function row(image: ManifestImage): string {
  const { name, file, what, consumer, format, filesystem } = image;
  return `| [${name}](${file}) | ${format}, ${filesystem} | ${cell(what)} | ${cell(consumer)} |`;
}

const HEAD = ['| image | is | what is wrong | a good consumer |', '| --- | --- | --- | --- |'];

function sectionOf(title: string, images: readonly ManifestImage[]): string[] {
  return images.length === 0 ? [] : [`### ${title}`, '', ...HEAD, ...images.map(row), ''];
}

function catalogue({ images }: Manifest): string[] {
  const families = [...new Set(images.map(({ family }) => family))];
  return families.flatMap((family) =>
    sectionOf(
      family === null ? 'Good images' : `Faults: ${family}`,
      images.filter((image) => image.family === family),
    ),
  );
}

/** The README of a suite, in Markdown. */
export function suiteReadme(manifest: Manifest): string {
  const { images, keys, seed, sourceDateEpoch, madeBy, tools } = manifest;
  const good = images.filter(({ fault }) => fault === null).length;
  const versions = Object.entries(tools).map(([name, version]) => `${name} ${version}`);
  return `${[
    '# Test VDIs: a conformance kit for whoever imports, checks or applies patch VDIs',
    '',
    `${images.length} images: ${good} good ones, and ${images.length - good} with exactly one thing wrong. Made by ${madeBy}, seed ${seed},`,
    `\`SOURCE_DATE_EPOCH\` ${sourceDateEpoch}, with ${versions.join(', ')}: the same seed and the same versions`,
    'make the same bytes.',
    '',
    '## How to test with it',
    '',
    '1. Give your consumer the trusted keys, `keys/keyring.gpg` (or `.asc`), and nothing else of `keys/`.',
    '2. Read `manifest.json`. For each entry of `images`, feed `file` to your consumer.',
    '3. Compare what it does with `expected`. A consumer that takes everything is as wrong as one that takes nothing.',
    '',
    '```sh',
    `jq -r '.images[] | [.file, .announcedLength, .expected.import, .expected.apply] | @tsv' manifest.json |`,
    'while IFS="$(printf \'\\t\')" read -r file length import apply; do',
    '  your-importer --length "$length" <"$file" && verdict=accepts || verdict=refuses',
    '  [ "$import" = depends ] || [ "$import" = "$verdict" ] || echo "$file: $verdict, expected: $import"',
    'done',
    '```',
    '',
    'With patch-vdi itself: `patch-vdi inspect FILE --json`, `patch-vdi verify FILE --keyring keys/keyring.gpg --json`',
    '(with `--signature` where the entry has one); exit codes and the codes of all findings are in the manifest.',
    '',
    '## What an entry says',
    '',
    '| field | meaning |',
    '| --- | --- |',
    '| `file`, `bytes`, `sha256` | the image |',
    '| `announcedLength` | what to announce to the importer; differs from `bytes` for streams that are too short or too long |',
    '| `format`, `filesystem`, `virtualSize` | what it is, or was before it was damaged |',
    '| `fault`, `family`, `what` | what is wrong with it; `fault` is null for a good image |',
    '| `consumer` | what a good consumer does |',
    '| `keyring`, `signature` | what to verify it with |',
    '| `upload` | size and SHA-256 of what was put into the file `patch` |',
    '| `expected.inspect`, `expected.verify` | exit code, and the codes of all findings of `patch-vdi`; `findings` null: it cannot be opened |',
    '| `expected.import` | `accepts`, `refuses`, or `depends` on the importer (both are seen) |',
    '| `expected.mount` | Linux: `readOnly` from a read-only device, `writable`; `patch` is then `whole`, `damaged` (other bytes), `unreadable` (an I/O error) or `absent`. Null: there is no disk |',
    '| `expected.apply` | `may run`, or `must refuse` |',
    '| `expected.gpgv` | gpgv alone over the file `patch` as the kernel shows it (debugfs, where the kernel refuses): exit code 0 (`good`) or not. Beware of `good` beside a bad `verify` |',
    '| `expected.fsck` | `e2fsck -fn` of the disk: `clean`: nothing to say; `complains` (its exit code may still be 0); `refuses` (exit 8) |',
    '| `expected.qemuImg` | `qemu-img convert` of a VHD: `converts` without a word, or `refuses` |',
    '',
    '## Keys',
    '',
    ...keys.map(
      ({ file, what, fingerprints }) =>
        `- \`${file}\`: ${what} ${fingerprints.map((text) => `\`${text}\``).join(', ')}`,
    ),
    '',
    'They are good for tests only: whoever knows the seed has the secret keys.',
    '',
    '## The images',
    '',
    ...catalogue(manifest),
  ]
    .join('\n')
    .trimEnd()}\n`;
}
