// npm run bench: whole processes side by side in one run, printed as ratios. Nothing is asserted here.
//
//   npm run bench               everything that fits into some minutes
//   npm run bench -- --quick    1 GiB on tmpfs only, few rounds
//   npm run bench -- --full     also 8 GiB and 16 GiB
//   npm run bench -- --inspect  inspect, extract and verify only
//   npm run bench -- --server   patch-vdi serve only: uploads, downloads, many clients
//   npm run bench -- --upload   patch-vdi upload only: into a pool that discards
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { compare, describeMachine, formatRatios, median, timed } from './measure.mjs';
import { serverRows } from './server-rows.mjs';
import { uploadRows } from './upload-rows.mjs';

const quick = process.argv.includes('--quick');
const full = process.argv.includes('--full');
const rounds = quick ? 3 : 7;
const program = join(import.meta.dirname, '../../dist/cli/main.js');
const cli = `${process.execPath} ${program}`;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const folders = [];
function workFolder(parent) {
  const folder = mkdtempSync(join(parent, 'pv-bench-'));
  folders.push(folder);
  return folder;
}
process.on('exit', () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

const memory = existsSync('/dev/shm') ? workFolder('/dev/shm') : workFolder(tmpdir());
const disk = workFolder(tmpdir());

const sh = (script) => execFileSync('sh', ['-c', script], { stdio: ['ignore', 'ignore', 'inherit'] });
const out = (text = '') => process.stdout.write(`${text}\n`);

/** @returns the keyring */
function makeKey(home) {
  const keyring = join(memory, 'keys.gpg');
  sh(`chmod 700 ${home}; export GNUPGHOME=${home}
    gpg --batch --quiet --passphrase '' --quick-generate-key 'Bench <bench@example.org>' ed25519 sign never
    gpg --batch --export > ${keyring}`);
  return keyring;
}

function makeUploads(home) {
  const upload = join(memory, 'upload');
  sh(`head -c ${GIB} /dev/urandom > ${upload}`);
  const keyring = makeKey(home);
  sh(`export GNUPGHOME=${home}
    gpg --batch --quiet --compress-algo none --sign -o ${upload}.signed ${upload}
    gpgconf --kill all`);
  return { upload, signed: `${upload}.signed`, keyring };
}

function build(source, length, target, options) {
  return `cat ${source} | ${cli} build - --content-length ${length} ${options} --quiet -o ${target}`;
}

function unsignedRows({ upload }) {
  for (const [place, folder] of [['tmpfs', memory], ...(quick ? [] : [['disk', disk]])]) {
    const copy = join(folder, 'copy');
    const image = join(folder, 'image.vhd');
    const ours = build(upload, GIB, image, '--allow-unsigned');
    // On a disk we store (fsync) before we name the image; cat does not. Both comparisons are shown.
    const peers = [['cat | cat > file', `cat ${upload} | cat > ${copy}`]];
    if (place === 'disk')
      peers.push(['cat | cat > file; sync file', `cat ${upload} | cat > ${copy}; sync ${copy}`]);
    for (const [name, peer] of peers) {
      const pairs = compare(ours, peer, rounds, [copy, image]);
      out(formatRatios(`unsigned 1 GiB -> VHD, ${place}`, name, pairs));
    }
  }
}

function signedRows({ signed, keyring }) {
  const copy = join(memory, 'copy');
  const image = join(memory, 'image.vhd');
  const ours = build(signed, statSync(signed).size, image, `--keyring ${keyring}`);
  const peer = `cat ${signed} | tee ${copy} | gpgv --keyring ${keyring} 2>/dev/null`;
  out(
    formatRatios(
      'signed 1 GiB -> VHD, tmpfs',
      'cat | tee file | gpgv',
      compare(ours, peer, rounds, [copy, image]),
    ),
  );
}

/** ext2 and ext3 at four times the upload, against ext4: the same upload, the same output. */
function filesystemRows({ upload }) {
  const image = join(memory, 'image.vhd');
  const other = join(memory, 'other.vhd');
  for (const filesystem of ['ext2', 'ext3']) {
    for (const format of ['vhd', 'raw']) {
      const options = `--allow-unsigned --format ${format}`;
      const ours = build(upload, GIB, image, `${options} --filesystem ${filesystem}`);
      const peer = build(upload, GIB, other, options);
      const pairs = compare(ours, peer, rounds, [image, other]);
      out(formatRatios(`${filesystem}, 1 GiB -> ${format}, tmpfs`, 'the same with ext4', pairs));
    }
  }
}

/** The same bytes into the same disk, with and without a length: without one, the template is made at the end. */
function unknownLengthRows({ upload }) {
  const image = join(memory, 'image.vhd');
  const other = join(memory, 'other.vhd');
  const ours = `cat ${upload} | ${cli} build - --allow-unsigned --quiet -o ${image}`;
  const peer = build(upload, GIB, other, '--allow-unsigned --size 4G');
  const pairs = compare(ours, peer, rounds, [image, other]);
  out(formatRatios('length unknown, 1 GiB -> VHD, tmpfs', 'the same with its length', pairs));
}

/** The first 8 GiB of 500: with the whole plan, and bounded in time. It ends as an upload that is too short. */
function sliceRow() {
  const slice = 8 * GIB;
  const stream = (length, code) =>
    `head -c ${slice} /dev/zero | { ${cli} build - --content-length ${length} --allow-unsigned --format vhd --quiet 2>/dev/null; [ $? = ${code} ]; } > /dev/null`;
  const pairs = compare(stream('500G', 4), stream(slice, 0), quick ? 1 : 3, []);
  out(formatRatios('8 GiB of 500 GiB -> VHD to /dev/null', '8 GiB of 8 GiB', pairs));
  for (const [length, code] of [
    ['500G', 4],
    [String(slice), 0],
  ]) {
    out(`    peak memory with a length of ${length}: ${peakMebibytes(stream(length, code)).toFixed(0)} MiB`);
  }
}

function peerRows({ upload }) {
  const image = join(memory, 'image.vhd');
  const ours = build(upload, GIB, image, '--allow-unsigned');
  const root = join(memory, 'root');
  // mke2fs -d and genext2fs want a file called patch in a folder, which is what people make by copying.
  const peer = `mkdir -p ${root}; cat ${upload} > ${root}/patch; mke2fs -q -F -t ext4 -d ${root} ${root}.raw 4G >/dev/null 2>&1;
    qemu-img convert -f raw -O vpc ${root}.raw ${root}.vhd; rm -rf ${root} ${root}.raw`;
  const pairs = compare(ours, peer, quick ? 1 : 3, [image, `${root}.vhd`]);
  out(formatRatios('unsigned 1 GiB -> VHD, tmpfs', 'mke2fs -d; qemu-img convert -O vpc', pairs));
}

function peakMebibytes(script) {
  const file = join(disk, 'rss');
  sh(script.replace(cli, `/usr/bin/time -f %M -o ${file} ${cli}`));
  return Number(readFileSync(file, 'utf8').trim().split('\n').at(-1)) / 1024;
}

function memoryRows({ signed, keyring }) {
  out('\npeak memory of the Node process');
  for (const gibibytes of [1 / 16, 1, ...(full ? [16] : [])]) {
    const length = gibibytes * GIB;
    const image = join(gibibytes > 4 ? disk : memory, 'image.vhd');
    const script = `head -c ${length} /dev/zero | ${cli} build - --content-length ${length} --allow-unsigned --quiet -o ${image}`;
    const peak = peakMebibytes(script);
    const over = (statSync(image).size - length) / MIB;
    out(
      `  unsigned ${String(gibibytes * 1024).padStart(6)} MiB -> VHD file: ${peak.toFixed(0)} MiB; image ${over.toFixed(1)} MiB larger`,
    );
    rmSync(image);
  }
  for (const filesystem of ['ext2', 'ext3']) {
    const image = join(memory, 'image.vhd');
    const options = `--content-length ${GIB} --allow-unsigned --filesystem ${filesystem} --quiet`;
    const peak = peakMebibytes(`head -c ${GIB} /dev/zero | ${cli} build - ${options} -o ${image}`);
    out(`  ${filesystem}, 1024 MiB -> VHD file: ${peak.toFixed(0)} MiB`);
    rmSync(image);
  }
  const image = join(memory, 'image.vhd');
  const peak = peakMebibytes(build(signed, statSync(signed).size, image, `--keyring ${keyring}`));
  out(`  signed     1024 MiB -> VHD file: ${peak.toFixed(0)} MiB`);
  rmSync(image);
}

function planRows() {
  out();
  const rows = [
    ['ext4', '500G', ''],
    ['ext2', '1M', ' --size 500G'],
    ...(full ? [['ext2', '500G', '']] : []),
  ];
  for (const [filesystem, length, size] of rows) {
    const options = `--content-length ${length}${size} --format vhd --filesystem ${filesystem}`;
    const script = `${cli} plan - ${options} < /dev/null`;
    const walls = Array.from({ length: rounds }, () => timed(script));
    out(
      `plan, template and e2fsck, ${filesystem}, ${length} of payload${size} as VHD: ${median(walls).toFixed(2)} s`,
    );
  }
}

/** Images of the same upload, looked into and read out again. */
function inspectRows({ upload, signed, keyring }) {
  out();
  const copy = join(memory, 'copy');
  for (const format of ['vhd', 'raw']) {
    const image = join(memory, `inspected.${format}`);
    sh(build(upload, GIB, image, '--allow-unsigned'));
    const looked = compare(`${cli} inspect ${image}`, `${process.execPath} -e 0`, rounds, []);
    out(formatRatios(`inspect a ${format} of 4 GiB`, "Node's own start", looked));
    for (const output of [`-o ${copy}`, `> ${copy}`]) {
      const ours = `${cli} extract ${image} --quiet ${output}`;
      const pairs = compare(ours, `cat ${upload} > ${copy}`, rounds, [copy]);
      out(formatRatios(`extract 1 GiB from a ${format}, ${output.slice(0, 2)}`, 'cat upload > file', pairs));
    }
    out(`    peak memory: ${peakMebibytes(`${cli} extract ${image} --quiet > /dev/null`).toFixed(0)} MiB`);
    rmSync(image);
  }
  const image = join(memory, 'inspected.vhd');
  sh(build(signed, statSync(signed).size, image, `--keyring ${keyring}`));
  const verify = `${cli} verify ${image} --keyring ${keyring}`;
  const pairs = compare(
    verify,
    `gpgv --keyring ${keyring} ${signed} 2>/dev/null; sha256sum ${signed}`,
    rounds,
    [],
  );
  out(formatRatios('verify a VHD with a signed 1 GiB', 'gpgv; sha256sum', pairs));
  rmSync(image);
}

function largeRow() {
  const upload = join(disk, 'large');
  const copy = join(disk, 'copy');
  const image = join(disk, 'image.vhd');
  sh(`head -c ${8 * GIB} /dev/zero > ${upload}`);
  const ours = build(upload, 8 * GIB, image, '--allow-unsigned');
  const pairs = compare(ours, `cat ${upload} | cat > ${copy}; sync ${copy}`, 3, [copy, image]);
  out(formatRatios('unsigned 8 GiB -> VHD, disk', 'cat | cat > file; sync file', pairs));
  rmSync(upload);
}

const only = process.argv.includes('--inspect');

out(describeMachine(cpus, totalmem));
out(
  `${rounds} rounds, our command and the other in turn; ratio = ours / other, median (lowest to highest)\n`,
);
if (process.argv.includes('--server')) {
  await serverRows({ cli: program, memory, rounds, quick, out });
  process.exit();
}
if (process.argv.includes('--upload')) {
  const home = workFolder('/tmp');
  await uploadRows({ cli: program, memory, home, keyring: makeKey(home), rounds, out });
  process.exit();
}
const uploads = makeUploads(workFolder('/tmp'));
if (only) {
  inspectRows(uploads);
  process.exit();
}
unsignedRows(uploads);
signedRows(uploads);
filesystemRows(uploads);
unknownLengthRows(uploads);
peerRows(uploads);
inspectRows(uploads);
sliceRow();
if (full) largeRow();
memoryRows(uploads);
planRows();
if (spawnSync('gpgv', ['--version']).status !== 0) out('gpgv is missing: the signed rows mean nothing');
