// The rows of the benchmark that are about `patch-vdi upload`: into a pool that discards, beside the same image through
// a pipe into curl, to the same server.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MIB, sizeName } from './context.mjs';
import { compare, ratioRow, ratiosOf, RATIO_COLUMNS } from './measure.mjs';

function makeSigned(folder, name, bytes, home) {
  const path = join(folder, name);
  const script = `export GNUPGHOME=${home}
    head -c ${bytes} /dev/urandom | gpg --batch --quiet --compress-algo none --sign -o ${path}.signed
    gpgconf --kill all`;
  execFileSync('sh', ['-c', script]);
  return `${path}.signed`;
}

function makeCertificate(folder) {
  const [key, certificate] = [join(folder, 'sink.key'), join(folder, 'sink.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const files = ['-keyout', key, '-out', certificate, '-days', '2'];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject, ...files], {
    stdio: 'ignore',
  });
  return { key, certificate };
}

async function startSink(...args) {
  const sink = spawn(process.execPath, [join(import.meta.dirname, 'xapi-sink.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.on('exit', () => sink.kill('SIGKILL'));
  const [line] = await once(sink.stdout, 'data');
  return { url: line.toString().trim(), stop: () => sink.kill('SIGKILL') };
}

/** `64 MiB as vhd 71 MiB`, for each upload and format. */
function peaksOf(commandOf, uploads, memory) {
  return uploads.flatMap((path) =>
    ['vhd', 'raw'].map((format) => {
      const report = join(memory, 'rss');
      execFileSync('sh', ['-c', `/usr/bin/time -f %M -o ${report} ${commandOf(path, format)}`]);
      const mebibytes = Number(readFileSync(report, 'utf8').trim().split('\n').at(-1)) / 1024;
      return `${Math.round(statSync(path).size / MIB)} MiB as ${format} ${mebibytes.toFixed(0)} MiB`;
    }),
  );
}

/** @returns the section about `patch-vdi upload`; bench: context.mjs */
export async function uploadRows({ cli, memory, home, keyring, rounds, uploadBytes, record, quick }) {
  const { key, certificate } = makeCertificate(memory);
  const password = join(memory, 'password');
  writeFileSync(password, 'x\n', { mode: 0o600 });
  const sizes = [64 * MIB, quick ? 2 * uploadBytes : uploadBytes];
  const uploads = sizes.map((bytes) => makeSigned(memory, `up-${bytes}`, bytes, home));
  const large = uploads.at(-1);
  const sinks = { http: await startSink(), https: await startSink(key, certificate) };
  const rows = [];
  const notes = [];
  const rates = [];
  for (const [scheme, { url, stop }] of Object.entries(sinks)) {
    const trust = scheme === 'http' ? '' : `--ca-file ${certificate}`;
    const upload = (path, format) =>
      `${process.execPath} ${cli} upload ${path} --pool ${url} ${trust} --password-file ${password} --keyring ${keyring} --format ${format} --quiet`;
    const built = `${process.execPath} ${cli} build ${large} --keyring ${keyring} --format vhd --quiet -o -`;
    const ca = scheme === 'http' ? '' : `--cacert ${certificate}`;
    const peer = `${built} | curl -sS --fail ${ca} -o /dev/null -T - ${url}/discard`;
    const pairs = compare(upload(large, 'vhd'), peer, rounds, []);
    rows.push(
      ratioRow(`upload of a signed ${sizeName(sizes.at(-1))}, ${scheme}`, 'build -o - | curl -T -', pairs),
    );
    rates.push(1 / ratiosOf(pairs).middle);
    notes.push(`peak memory over ${scheme}: ${peaksOf(upload, uploads, memory).join(', ')}`);
    stop();
  }
  record('upload.rate', Math.min(...rates));
  // A gibibyte in memory that the other parts may want.
  for (const path of uploads) rmSync(path);
  return [
    {
      title: 'upload: into a pool that discards',
      text: [
        'As a dynamic VHD, over loopback, to a server that speaks as much XenAPI as an import needs and throws the disk away. The other is the same image through a pipe into curl, to the same server.',
      ],
      columns: RATIO_COLUMNS,
      rows,
      notes,
    },
  ];
}
