// The rows of the benchmark that are about `patch-vdi serve`: clients are curl, in processes of their own.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { startServer } from './bench-server.mjs';
import { compare, formatRatios, median, timed } from './measure.mjs';

const UUID = '01234567-89ab-4cde-8f01-23456789abcd';
const UPLOADS = 8;
const READERS = 50;
const READS_EACH = 6;

/** The server runs the patch to ask what it is: it must be a real one. */
function makePatches(cli, folder) {
  const run = (...args) => execFileSync(process.execPath, [cli, 'test', ...args], { stdio: 'ignore' });
  const keys = join(folder, 'keys');
  const made = (name, size, ...more) => {
    const path = join(folder, name);
    run('patch', '-o', path, '--size', size, '--sign', keys, ...more);
    return path;
  };
  run('key', '-o', keys);
  return {
    keyring: join(keys, 'keyring.gpg'),
    patch: made('patch', '1G', '--uuid', UUID),
    small: made('small', '8M', '--uuid', UUID),
    large: Array.from({ length: UPLOADS }, (_, index) => made(`large-${index}`, '256M')),
  };
}

function uploadRows(bench, servers, { patch, keyring }) {
  const { cli, memory, rounds, out } = bench;
  const length = statSync(patch).size;
  const image = join(memory, 'served.raw');
  const clear = join(memory, 'served.clear');
  const built = `cat ${patch} | ${process.execPath} ${cli} build - --content-length ${length} --format raw --keyring ${keyring} --quiet -o ${image}`;
  const library = join(import.meta.dirname, 'library-build.mjs');
  const same = `cat ${patch} | ${process.execPath} ${library} ${keyring} ${length} ${image} ${clear}`;
  const names = ['build from a pipe', 'build from a pipe, with digest and clear text'];
  const pairs = compare(same, built, rounds, [image, clear]);
  out(formatRatios(`${names[1]}, 1 GiB`, names[0], pairs));
  for (const [scheme, server] of Object.entries(servers)) {
    const upload = server.curl(`-T ${patch} -o /dev/null`, '/pool_patch_upload');
    // The first one makes the record, all others replace it.
    timed(upload);
    for (const [index, peer] of [built, same].entries()) {
      const before = server.processorSeconds();
      out(
        formatRatios(
          `upload over ${scheme}, 1 GiB`,
          names[index],
          compare(upload, peer, rounds, [image, clear]),
        ),
      );
      const after = server.processorSeconds();
      const each = (kind) => ((after[kind] - before[kind]) / rounds).toFixed(2);
      out(`    processor time of each: the server ${each('own')} s, gpgv and others ${each('tools')} s`);
    }
  }
}

function downloadRows({ memory, rounds, out }, servers, { patch }) {
  const copy = join(memory, 'served.copy');
  for (const [scheme, server] of Object.entries(servers)) {
    const download = server.curl(`-o ${copy}`, `/pool_patch_download?uuid=${UUID}`);
    const pairs = compare(download, `cat ${patch} | cat > ${copy}`, rounds, [copy]);
    out(formatRatios(`download over ${scheme}, 1 GiB`, 'cat | cat > file', pairs));
  }
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

async function crowdRow({ cli, memory, quick, out }, patches) {
  const walls = [];
  const peaks = [];
  for (let round = 0; round < (quick ? 1 : 3); round += 1) {
    // A new server each time: what is largest is of its whole life.
    const server = await startServer(cli, join(memory, `crowd-${round}`), { ...patches, tls: true });
    timed(server.curl(`-T ${patches.small} -o /dev/null`, '/pool_patch_upload'));
    walls.push(timed(crowd(server, patches)));
    peaks.push(server.peakMebibytes());
    await server.stop();
  }
  const what = `${UPLOADS} uploads of 256 MiB next to ${READERS} readers of ${READS_EACH} x 8 MiB, https`;
  out(
    `${what}\n    ${median(walls).toFixed(2)} s, peak memory of the server ${Math.max(...peaks).toFixed(0)} MiB`,
  );
}

/** @param bench cli (path of the command line), memory (a folder on tmpfs), rounds, quick, out (prints a line) */
export async function serverRows(bench) {
  const patches = makePatches(bench.cli, bench.memory);
  const servers = {
    http: await startServer(bench.cli, bench.memory, { ...patches, tls: false }),
    https: await startServer(bench.cli, bench.memory, { ...patches, tls: true }),
  };
  uploadRows(bench, servers, patches);
  downloadRows(bench, servers, patches);
  for (const server of Object.values(servers)) await server.stop();
  await crowdRow(bench, patches);
}
