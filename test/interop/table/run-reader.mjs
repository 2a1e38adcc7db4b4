// Runs a reader, and says what came of it.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';

const TIME_LIMIT_MILLISECONDS = 180_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const MAX_WORDS = 160;

/** @returns exitCode (undefined: killed), stdout (bytes), words (what it said on stderr) */
export function run(program, args, { cwd } = {}) {
  const result = spawnSync(program, args, {
    cwd,
    timeout: TIME_LIMIT_MILLISECONDS,
    maxBuffer: MAX_OUTPUT_BYTES,
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
  });
  if (result.error !== undefined && result.error.code === 'ENOENT') throw result.error;
  return { exitCode: result.status ?? undefined, stdout: result.stdout, words: result.stderr.toString() };
}

/** The line that says what is wrong, without banners, the paths of this run, and ids that differ each time. */
export function reasonIn(words, hidden) {
  const lines = hidden
    .reduce((text, path) => text.replaceAll(path, '…'), words)
    .replaceAll(/\/dev\/loop\d+/g, '/dev/loop…')
    .replaceAll(/\/tmp\/libguestfs\w+/g, '…')
    .split('\n')
    .map((line) => line.trim())
    .filter(
      (line) => line !== '' && !/^(?:debugfs|e2fsck|vhdimount|guestfish) \d|^ERRORS?:(?: …)?$/.test(line),
    );
  const telling = lines.find((line) =>
    /error|bad|invalid|unsupported|cannot|can't|wrong|unknown|fail|not match/i.test(line),
  );
  return (telling ?? lines[0] ?? '').replaceAll(/[^\x20-\x7e…]/g, '?').slice(0, MAX_WORDS);
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/**
 * What a reader did with `patch`.
 *
 * @returns outcome: `reads` (the same bytes, no complaint), `complains` (the same bytes, and says that something is
 * wrong), `refuses` (an error, or nothing came out), `wrong` (other bytes, and no word about it)
 */
export function outcomeOf({ exitCode, stdout, words }, expectedDigest, hidden) {
  const said = reasonIn(words, hidden);
  if (sha256(stdout) === expectedDigest) return { outcome: exitCode === 0 ? 'reads' : 'complains', said };
  if (exitCode !== 0 || stdout.length === 0) return { outcome: 'refuses', said };
  return { outcome: 'wrong', said };
}
