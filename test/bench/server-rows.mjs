// The rows of the benchmark that are about `patch-vdi serve`: clients are curl, in processes of their own.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startServer } from './bench-server.mjs';
import { MIB, sizeName } from './context.mjs';
import { compare, median, ratioRow, ratiosOf, RATIO_COLUMNS, timed } from './measure.mjs';

const UUID = '01234567-89ab-4cde-8f01-23456789abcd';
const UPLOADS = 8;
const READERS = 50;
const READS_EACH = 6;

/** The server runs the patch to ask what it is: it must be a real one. */
function makePatches(bench, folder) {
  const run = (...args) => execFileSync(process.execPath, [bench.cli, 'test', ...args], { stdio: 'ignore' });
  const keys = join(folder, 'keys');
  const made = (name, size, ...more) => {
    const path = join(folder, name);
    run('patch', '-o', path, '--size', size, '--sign', keys, ...more);
    return path;
  };
  run('key', '-o', keys);
  return {
    keyring: join(keys, 'keyring.gpg'),
    patch: made('patch', `${bench.uploadBytes / MIB}M`, '--uuid', UUID),
    small: made('small', '8M', '--uuid', UUID),
    large: Array.from({ length: UPLOADS }, (_, index) => made(`large-${index}`, '256M')),
  };
}

/** @returns rows, and notes about processor time */
function uploadRows(bench, servers, { patch, keyring }) {
  const { cli, memory, rounds } = bench;
  const length = statSync(patch).size;
  const size = sizeName(bench.uploadBytes);
  const image = join(memory, 'served.raw');
  const clear = join(memory, 'served.clear');
  const built = `cat ${patch} | ${process.execPath} ${cli} build - --content-length ${length} --format raw --keyring ${keyring} --quiet -o ${image}`;
  const library = join(import.meta.dirname, 'library-build.mjs');
  const same = `cat ${patch} | ${process.execPath} ${library} ${keyring} ${length} ${image} ${clear}`;
  const names = ['build from a pipe', 'the same work from a pipe'];
  const rows = [ratioRow(`${names[1]}, ${size}`, names[0], compare(same, built, rounds, [image, clear]))];
  const notes = [];
  for (const [scheme, server] of Object.entries(servers)) {
    const upload = server.curl(`-T ${patch} -o /dev/null`, '/pool_patch_upload');
    // The first one makes the record, all others replace it.
    timed(upload);
    const before = server.processorSeconds();
    for (const [index, peer] of [built, same].entries()) {
      const pairs = compare(upload, peer, rounds, [image, clear]);
      bench.record(`server.upload.rate.${scheme}.${index}`, 1 / ratiosOf(pairs).middle);
      rows.push(ratioRow(`upload over ${scheme}, ${size}`, names[index], pairs));
    }
    const after = server.processorSeconds();
    const each = (kind) => ((after[kind] - before[kind]) / (2 * rounds)).toFixed(2);
    notes.push(
      `processor time of an upload over ${scheme}: the server ${each('own')} s, gpgv and others ${each('tools')} s`,
    );
  }
  return { rows, notes };
}

function downloadRows({ memory, rounds, uploadBytes }, servers, { patch }) {
  const copy = join(memory, 'served.copy');
  return Object.entries(servers).map(([scheme, server]) => {
    const download = server.curl(`-o ${copy}`, `/pool_patch_download?uuid=${UUID}`);
    const pairs = compare(download, `cat ${patch} | cat > ${copy}`, rounds, [copy]);
    return ratioRow(`download over ${scheme}, ${sizeName(uploadBytes)}`, 'cat > file', pairs);
  });
}

/** All at once; it fails when one of them does. */
function crowd(server, { large }) {
  const uploads = large.map((path) => `${server.curl(`-T ${path} -o /dev/null`, '/pool_patch_upload')} &`);
  const read = server.curl('-o /dev/null', `/pool_patch_download?uuid=${UUID}`);
  const reads = Array.from({ length: READS_EACH }, () => read).join(' && ');
  const readers = Array.from({ length: READERS }, () => `{ ${reads}; } &`);
  const started = [...uploads, ...readers].map((line) => `${line} all="$all $!"`);
  return `${started.join('\n')}\nfor one in $all; do wait $one || exit 1; done`;
}

async function crowdNote(bench, patches) {
  const walls = [];
  const peaks = [];
  for (let round = 0; round < (bench.quick ? 1 : 3); round += 1) {
    // A new server each time: what is largest is of its whole life.
    const folder = join(bench.memory, `crowd-${round}`);
    const server = await startServer(bench.cli, folder, { ...patches, tls: true });
    timed(server.curl(`-T ${patches.small} -o /dev/null`, '/pool_patch_upload'));
    walls.push(timed(crowd(server, patches)));
    peaks.push(server.peakMebibytes());
    await server.stop();
    rmSync(folder, { recursive: true });
  }
  bench.record('server.memory', Math.max(...peaks));
  const what = `${UPLOADS} uploads of 256 MiB next to ${READERS} readers of ${READS_EACH} x 8 MiB, https`;
  return `${what}: ${median(walls).toFixed(2)} s, peak memory of the server ${Math.max(...peaks).toFixed(0)} MiB`;
}

/** @returns the section about `patch-vdi serve` */
export async function serverRows(bench) {
  const folder = join(bench.memory, 'server');
  mkdirSync(folder);
  const patches = makePatches(bench, folder);
  const servers = {
    http: await startServer(bench.cli, folder, { ...patches, tls: false }),
    https: await startServer(bench.cli, folder, { ...patches, tls: true }),
  };
  const { rows, notes } = uploadRows(bench, servers, patches);
  rows.push(...downloadRows(bench, servers, patches));
  for (const server of Object.values(servers)) await server.stop();
  notes.push(await crowdNote(bench, patches));
  rmSync(folder, { recursive: true });
  return [
    {
      title: 'serve: uploads and downloads over loopback',
      text: [
        'The client is curl, on the same cores. An upload costs the server a digest and the clear text of the signed message besides: "the same work" is a build that makes both.',
      ],
      columns: RATIO_COLUMNS,
      rows,
      notes,
    },
  ];
}
