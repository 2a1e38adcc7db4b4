// How the benchmark measures: whole shell pipelines, in turn with each other, because these machines are noisy.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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

/**
 * Wall seconds of a shell script, processor seconds (user and system) of all its processes together, and the peak of
 * resident memory of its largest process: the kernel's own figures, as GNU time asks for them (wait4(2)).
 */
export function measured(script) {
  const folder = mkdtempSync(join(tmpdir(), 'pv-time-'));
  const file = join(folder, 'time');
  try {
    const start = process.hrtime.bigint();
    execFileSync('/usr/bin/time', ['-f', '%U %S %M', '-o', file, 'sh', '-c', script], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const wall = Number(process.hrtime.bigint() - start) / 1e9;
    const [user, system, kibibytes] = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .at(-1)
      .split(' ')
      .map(Number);
    return { wall, processor: user + system, peakMebibytes: kibibytes / 1024 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What one run has left for the kernel to write is not to be paid by the next. */
const settle = () => execFileSync('sync');

/** Runs both in turn, removing the outputs before each run; the order changes from round to round. */
export function compare(ours, peer, rounds, outputs) {
  const run = (script) => {
    outputs.forEach((path) => rmSync(path, { force: true }));
    settle();
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

/**
 * Several ways to do one thing, each once a round, beginning with another one in each round.
 *
 * @param candidates objects with `script` and `clean`, which is called before and after each run
 * @returns what `measured` says, for each candidate in each round
 */
export function measureInTurn(candidates, rounds) {
  const runs = candidates.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < candidates.length; turn += 1) {
      const index = (turn + round) % candidates.length;
      candidates[index].clean();
      settle();
      runs[index][round] = measured(candidates[index].script);
      candidates[index].clean();
    }
  }
  return runs;
}

/** Of times in pairs: the middle, the lowest and the highest of ours / peer. */
export function ratiosOf(pairs) {
  const ratios = pairs.map(({ ours, peer }) => ours / peer);
  return { middle: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
}

/** Columns of a table of such rows: see `ratioRow`. */
export const RATIO_COLUMNS = ['what', 'beside', '>ours, s', '>other, s', '>ratio', 'lowest to highest'];

export function ratioRow(what, peerName, pairs) {
  const { middle, lowest, highest } = ratiosOf(pairs);
  const seconds = (side) => median(pairs.map((pair) => pair[side])).toFixed(2);
  const spread = `${lowest.toFixed(2)} to ${highest.toFixed(2)}`;
  return [what, peerName, seconds('ours'), seconds('peer'), middle.toFixed(2), spread];
}
