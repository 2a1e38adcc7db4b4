import type { Command } from 'commander';

/** A line for a shell, as it is typed, with `\` at the ends of lines; and what it does, or why. */
export type Example = readonly [line: string, why: string];

const REMOTE = '--url https://xcp1:8443 --ca-file pool.pem --password-file pw';

/**
 * The examples of every command, by the words that lead to it; the help and the manual page show them. Tests parse each
 * of them with the commands as they are, and run what needs no pool: in a folder with `hotfix.xsupdate`, `keys.gpg`…
 */
export const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  '': [
    [
      'patch-vdi build hotfix.xsupdate -o hotfix.vhd --keyring keys.gpg',
      'a signed upload becomes a sealed disk image',
    ],
    ['patch-vdi inspect vdi.vhd', 'what is in it'],
    ['patch-vdi test vdi -o t.vhd', 'an image to try things with, and its keyring'],
  ],
  build: [
    ['patch-vdi build hotfix.xsupdate -o hotfix.vhd --keyring keys.gpg', 'a VHD, by the ending of its name'],
    [
      'cat hotfix.xsupdate | patch-vdi build - --content-length 734003200 \\\n    --keyring keys.gpg --signer FINGERPRINT --format vhd > hotfix.vhd',
      'from a pipe to a pipe, taken from one signer only',
    ],
    [
      'patch-vdi build driver.sh --signature driver.sh.sig --keyring keys.gpg \\\n    -o driver.raw',
      'an upload whose signature is a file of its own',
    ],
    ['patch-vdi build --reproduce hotfix.vhd', 'was it built from what is in it?'],
  ],
  plan: [
    ['patch-vdi plan hotfix.xsupdate --format vhd', 'what would be written where'],
    ['patch-vdi plan - --content-length 734003200 --format raw --json', 'for a length alone'],
  ],
  inspect: [
    ['patch-vdi inspect vdi.vhd', 'format, file system, patch, and what is wrong'],
    ['patch-vdi inspect vdi.vhd --list', 'all its files'],
    ['patch-vdi inspect vdi.vhd --svg map.svg', 'a picture of the disk'],
    ['patch-vdi inspect https://host/vdi.vhd --json', 'over HTTP, no more than it takes'],
    ["ssh host 'dd if=/dev/xvdb' | patch-vdi inspect -", 'from a stream'],
  ],
  extract: [
    ['patch-vdi extract vdi.vhd -o copy.xsupdate', 'as it was uploaded'],
    ['patch-vdi extract vdi.vhd | gpgv --keyring ./keys.gpg', 'to somebody else who verifies it'],
    ['patch-vdi extract vdi.vhd --payload --keyring keys.gpg -o hotfix.sh', 'what was signed'],
  ],
  verify: [
    ['patch-vdi verify vdi.vhd --keyring keys.gpg', 'signature and structure'],
    [
      'patch-vdi verify driver.raw --keyring keys.gpg --signature driver.sh.sig',
      'with a signature that is a file of its own',
    ],
    ['patch-vdi verify vdi.vhd --structure-only', 'no signature is checked'],
  ],
  diff: [
    ['patch-vdi diff a.vhd b.raw', 'all that counts'],
    ['patch-vdi diff a.vhd c.vhd --content', 'files only: not UUIDs, times, layout'],
  ],
  serve: [
    ['patch-vdi serve --keyring keys.gpg', 'a pool of this one host'],
    ['patch-vdi serve --config pool.yaml --log-format json >> serve.log', 'with more repositories and users'],
    [
      'patch-vdi serve --listen 10.0.0.2:8443 --join https://10.0.0.1:8443 \\\n    --fingerprint AA:BB:…',
      'a second host of that pool',
    ],
    [
      'curl -T hotfix.xsupdate -u root --cacert STATE/certificate.pem \\\n    https://localhost:8443/pool_patch_upload',
      'an upload without patch-vdi',
    ],
  ],
  upload: [
    [
      'patch-vdi upload hotfix.xsupdate --pool https://xcp1 --password-file pw \\\n    --ca-file pool.pem --keyring keys.gpg',
      'sealed only if the signature holds',
    ],
    [
      "patch-vdi upload hotfix.xsupdate --pool https://xcp1 --password-file pw \\\n    --keyring keys.gpg --sr 'Local storage' --dry-run",
      'would it fit? nothing is changed',
    ],
  ],
  pool: [
    ['patch-vdi pool patches', 'of a server on this machine'],
    [`patch-vdi pool srs \\\n    ${REMOTE}`, 'of another one'],
  ],
  'pool patches': [
    ['patch-vdi pool patches', 'of a server on this machine'],
    [`patch-vdi pool patches --json \\\n    ${REMOTE}`, 'for a script'],
  ],
  'pool upload': [
    ['patch-vdi pool upload hotfix.xsupdate', 'to a server on this machine'],
    [`patch-vdi pool upload hotfix.zip --sr 'Local storage' \\\n    ${REMOTE}`, 'to another one'],
    ['patch-vdi pool upload https://host/hotfix.xsupdate', 'from a web server'],
    [
      'cat hotfix.xsupdate | patch-vdi pool upload - --content-length 734003200',
      'from a pipe: with the length its VDI has the right size',
    ],
  ],
  'pool download': [
    ['patch-vdi pool download c3520494 -o copy.xsupdate', 'by the start of its uuid'],
    ['patch-vdi pool download XS62ESP1 -o - | gpgv --keyring ./keys.gpg', 'by its name'],
  ],
  'pool precheck': [
    ['patch-vdi pool precheck c3520494', 'on the only host'],
    ['patch-vdi pool precheck XS62ESP1 --host xcp2', 'on one of several'],
  ],
  'pool apply': [
    ['patch-vdi pool apply c3520494', 'to the only host'],
    ['patch-vdi pool apply XS62ESP1 --host xcp2 --again', 'although an earlier apply did not end'],
  ],
  'pool pool-apply': [['patch-vdi pool pool-apply c3520494', 'to all hosts that lack it']],
  'pool clean': [['patch-vdi pool clean c3520494', 'its VDI stays']],
  'pool pool-clean': [['patch-vdi pool pool-clean c3520494', 'its record may stay']],
  'pool destroy': [['patch-vdi pool destroy c3520494', 'unless it is applied to a host']],
  'pool hosts': [['patch-vdi pool hosts', 'and whether the master reaches them']],
  'pool cancel': [['patch-vdi pool cancel 91be5f02', 'by the start of its uuid']],
  'pool srs': [
    ['patch-vdi pool srs', 'of a server on this machine'],
    [`patch-vdi pool srs \\\n    ${REMOTE}`, 'of another one'],
  ],
  'pool vdis': [
    ['patch-vdi pool vdis', 'those of patches'],
    ['patch-vdi pool vdis --all --json', 'all of them, for a script'],
  ],
  'pool vdi-inspect': [['patch-vdi pool vdi-inspect 5f3a9c2e', 'what is in it, over the network']],
  'pool vdi-extract': [
    ['patch-vdi pool vdi-extract 5f3a9c2e -o copy.xsupdate', 'to a file'],
    ['patch-vdi pool vdi-extract 5f3a9c2e -o - | gpgv --keyring ./keys.gpg', 'to somebody who verifies it'],
  ],
  'pool vdi-copy': [["patch-vdi pool vdi-copy 5f3a9c2e --sr 'Shared storage'", 'where all hosts reach it']],
  'pool vdi-destroy': [['patch-vdi pool vdi-destroy 5f3a9c2e 77d01b4c', 'both, or none if one is not there']],
  'pool tasks': [
    ['patch-vdi pool tasks', 'those under way first'],
    ['patch-vdi pool tasks --cancel 91be5f02', 'an upload, a copy, a precheck'],
  ],
  apply: [
    ['patch-vdi apply vdi.vhd --keyring keys.gpg', 'as root'],
    ['patch-vdi apply vdi.vhd --keyring keys.gpg --precheck', 'ask only'],
    ['patch-vdi apply /dev/xvdb --keyring keys.gpg --print-recipe > recipe.sh', 'for a host without Node'],
  ],
  test: [
    ['patch-vdi test vdi -o t.vhd', 'key, patch and image in one go'],
    ['patch-vdi test suite -o suite/ --seed 7', 'good and bad images, with a manifest'],
  ],
  'test key': [
    ['patch-vdi test key -o mykeys/', 'and its keyring'],
    ['patch-vdi test key -o expired/ --seed 7 --expires 2020-02-01', 'the same for everybody, expired'],
  ],
  'test patch': [
    ['patch-vdi test patch -o t.xsupdate --size 2M --sign keys/', 'signed'],
    [
      'patch-vdi test patch -o old.xsupdate --size 1M --sign keys/ \\\n    --precheck wrong-server-version --guidance restartHost,restartXAPI',
      'one that a host refuses',
    ],
    ['patch-vdi test patch -o t.sh --size 1M --unsigned && sh t.sh info', 'it tells about itself'],
  ],
  'test vdi': [
    ['patch-vdi test vdi -o t.vhd --size 2M', 'a good one'],
    ['patch-vdi test vdi --fault superblock-zeroed -o bad.vhd', 'one with one thing wrong'],
  ],
  'test faults': [
    ['patch-vdi test faults', 'a table'],
    ['patch-vdi test faults --json', 'for a script'],
  ],
  'test suite': [
    ['patch-vdi test suite -o suite/ --seed 7', 'everything'],
    ['patch-vdi test suite -o small/ --formats raw,vhd --filesystems ext2,ext4', 'some of it'],
  ],
  doctor: [
    ['patch-vdi doctor', 'what is there, what is missing, how to get it'],
    ['patch-vdi doctor --all --json', 'what apply and the tests need, too'],
  ],
  completion: [
    ['source <(patch-vdi completion bash)', 'in this shell'],
    [
      'mkdir -p ~/.local/share/bash-completion/completions\npatch-vdi completion bash > \\\n    ~/.local/share/bash-completion/completions/patch-vdi',
      'in every bash of yours',
    ],
    ['mkdir -p ~/.zfunc && patch-vdi completion zsh > ~/.zfunc/_patch-vdi', 'zsh, if fpath has ~/.zfunc'],
  ],
  manual: [
    ['patch-vdi manual | man -l -', 'read it'],
    [
      'mkdir -p ~/.local/share/man/man1\npatch-vdi manual > ~/.local/share/man/man1/patch-vdi.1',
      'keep it for man(1)',
    ],
  ],
};

/** The words that lead to a command, without the program: a key of {@link EXAMPLES}. */
export function wordsTo(command: Command): string {
  if (command.parent === null) return '';
  const before = wordsTo(command.parent);
  return before === '' ? command.name() : `${before} ${command.name()}`;
}

/** What the help of a command ends with; empty when there are none. */
export function examplesText(command: Command): string {
  const examples = EXAMPLES[wordsTo(command)] ?? [];
  if (examples.length === 0) return '';
  const lines = examples.flatMap(([line, why]) => [
    `  # ${why}`,
    ...line.split('\n').map((part) => `  ${part}`),
  ]);
  return ['', 'Examples:', ...lines, ''].join('\n');
}
