// How the benchmark measures: wall time of whole shell pipelines, in pairs, because these machines are noisy.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Seconds that a shell script takes; it must succeed. */
export function timed(script) {
  const start = process.hrtime.bigint();
  execFileSync('sh', ['-c', script], { stdio: ['ignore', 'ignore', 'inherit'] });
  return Number(process.hrtime.bigint() - start) / 1e9;
}

/** Runs both in turn, removing the outputs before each run; the order changes from round to round. */
export function compare(ours, peer, rounds, outputs) {
  const run = (script) => {
    outputs.forEach((path) => rmSync(path, { force: true }));
    return timed(script);
  };
  const pairs = [];
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 0) {
      const first = run(ours);
      pairs.push({ ours: first, peer: run(peer) });
    } else {
      const first = run(peer);
      pairs.push({ ours: run(ours), peer: first });
    }
  }
  outputs.forEach((path) => rmSync(path, { force: true }));
  return pairs;
}

export function formatRatios(what, peerName, pairs) {
  const ratios = pairs.map(({ ours, peer }) => ours / peer);
  const spread = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
  const walls = `${median(pairs.map(({ ours }) => ours)).toFixed(2)} s / ${median(pairs.map(({ peer }) => peer)).toFixed(2)} s`;
  return `${what} vs ${peerName}\n    ${median(ratios).toFixed(2)} (${spread})   ${walls}`;
}

export function describeMachine(cpus, totalmem) {
  const cores = cpus();
  return `${cores.length} x ${cores[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${process.platform}`;
}
