// The rows of the benchmark that are about `patch-vdi upload`: into a pool that discards, beside the same image through
// a pipe into curl, to the same server.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compare, formatRatios } from './measure.mjs';

const MIB = 1024 * 1024;

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

/** @param bench context.mjs */
export async function uploadRows({ cli, memory, home, keyring, rounds, out, record, quick }) {
  const { key, certificate } = makeCertificate(memory);
  const password = join(memory, 'password');
  writeFileSync(password, 'x\n', { mode: 0o600 });
  const uploads = [64, quick ? 256 : 1024].map((size) => makeSigned(memory, `up-${size}`, size * MIB, home));
  const large = uploads.at(-1);
  const sinks = { http: await startSink(), https: await startSink(key, certificate) };
  const medians = [];
  for (const [scheme, { url, stop }] of Object.entries(sinks)) {
    const trust = scheme === 'http' ? '' : `--ca-file ${certificate}`;
    const upload = (path, format) =>
      `${process.execPath} ${cli} upload ${path} --pool ${url} ${trust} --password-file ${password} --keyring ${keyring} --format ${format} --quiet`;
    const built = `${process.execPath} ${cli} build ${large} --keyring ${keyring} --format vhd --quiet -o -`;
    const ca = scheme === 'http' ? '' : `--cacert ${certificate}`;
    const peer = `${built} | curl -sS --fail ${ca} -o /dev/null -T - ${url}/discard`;
    const pairs = compare(upload(large, 'vhd'), peer, rounds, []);
    out(
      formatRatios(
        `upload of a signed ${quick ? '256 MiB' : '1 GiB'} as VHD, ${scheme}`,
        'build -o - | curl -T -',
        pairs,
      ),
    );
    const rates = pairs.map((pair) => pair.peer / pair.ours).toSorted((a, b) => a - b);
    const rate = rates[rates.length >> 1];
    medians.push(rate);
    out(`    rate: ${rate.toFixed(2)} times the other's (goal: 0.8)`);
    const peaks = uploads.flatMap((path) =>
      ['vhd', 'raw'].map((format) => {
        const report = join(memory, 'rss');
        execFileSync('sh', ['-c', `/usr/bin/time -f %M -o ${report} ${upload(path, format)}`]);
        const peak = Number(readFileSync(report, 'utf8').trim().split('\n').at(-1)) / 1024;
        return `${Math.round(statSync(path).size / MIB)} MiB as ${format}: ${peak.toFixed(0)} MiB`;
      }),
    );
    out(`    peak memory: ${peaks.join('; ')}`);
    stop();
  }
  record('upload.rate', Math.min(...medians));
  // A gibibyte in memory that the other parts may want.
  for (const path of uploads) rmSync(path);
}
