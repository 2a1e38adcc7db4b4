import prettyBytes from 'pretty-bytes';
import { openBarLine } from './bar-line.js';

/** How far something is that moves bytes. */
export interface BarProgress {
  readonly phase: 'spool' | 'write' | 'verify' | 'send' | 'copy' | 'wait';
  /** While others work, `wait`: parts of theirs. */
  readonly bytes: number;
  /** Undefined while nobody knows. */
  readonly totalBytes: number | undefined;
}

const PHASE_NAMES: Readonly<Record<BarProgress['phase'], string>> = {
  spool: 'receiving',
  write: 'writing',
  verify: 'verifying',
  send: 'sending',
  copy: 'copying',
  wait: 'waiting for the pool',
};

/** A bar on stderr. `report` is on the hot path: it only takes notes; a timer draws. */
export interface ProgressBar {
  report(progress: BarProgress): void;
  /** Ends the line and shows the cursor again; safe at any time. */
  stop(): void;
}

/** How much of the rate is the newest measurement; the rest is history. */
const SMOOTHING = 0.2;
const REDRAW_MILLISECONDS = 200;

const iec = (bytes: number): string => prettyBytes(bytes, { binary: true, maximumFractionDigits: 1 });

function describeSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '--:--';
  const whole = Math.ceil(seconds);
  const pair = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${pair(minutes)}:${pair(whole % 60)}` : `${pair(minutes)}:${pair(whole % 60)}`;
}

/** The texts beside the bar: how much, how fast, how long still. */
function progressTexts(
  progress: BarProgress,
  bytesPerSecond: number,
): { amount: string; rate: string; left: string } {
  const { phase, bytes, totalBytes } = progress;
  // Nobody knows how long others take.
  if (phase === 'wait') return { amount: '', rate: '', left: '' };
  const left = totalBytes === undefined ? '' : describeSeconds((totalBytes - bytes) / bytesPerSecond);
  return {
    amount: totalBytes === undefined ? iec(bytes) : `${iec(bytes)} / ${iec(totalBytes)}`,
    rate: bytesPerSecond > 0 ? `${iec(bytesPerSecond)}/s` : '',
    left,
  };
}

/** The longest texts, `1023.9 MiB / 1023.9 MiB  1023.9 MiB/s  9:59:59`, leave this much of 80 columns. */
const BAR_CHARACTERS = 14;

/** @param progress 0 to 1 */
function barText(progress: number): string {
  const done = Math.round(Math.min(1, Math.max(0, progress)) * BAR_CHARACTERS);
  const percent = Math.floor(progress * 100);
  return ` [${'#'.repeat(done).padEnd(BAR_CHARACTERS, '-')}] ${percent}%`;
}

/** The whole line. Without a length there is no end to run towards, and no bar. */
function lineText(progress: BarProgress, bytesPerSecond: number): string {
  const { phase, bytes, totalBytes } = progress;
  const { amount, rate, left } = progressTexts(progress, bytesPerSecond);
  const bar = totalBytes === undefined ? '' : barText(totalBytes === 0 ? 1 : bytes / totalBytes);
  return [`${PHASE_NAMES[phase]}${bar}`, amount, rate, left].join('  ').trimEnd();
}

/** Call it only where a bar will be shown: it loads what draws it. */
export async function startProgressBar(): Promise<ProgressBar> {
  const line = await openBarLine();
  let latest: BarProgress | undefined;
  let rate = 0;
  let last = { bytes: 0, at: performance.now() };
  let started = false;

  const draw = (): void => {
    if (latest === undefined) return;
    const now = performance.now();
    const seconds = (now - last.at) / 1000;
    if (latest.bytes < last.bytes) rate = 0;
    else if (seconds > 0) {
      const newest = (latest.bytes - last.bytes) / seconds;
      rate = rate === 0 ? newest : SMOOTHING * newest + (1 - SMOOTHING) * rate;
    }
    last = { bytes: latest.bytes, at: now };
    line.show(lineText(latest, rate));
    started = true;
  };
  const timer = setInterval(draw, REDRAW_MILLISECONDS);
  return {
    report(progress) {
      latest = progress;
    },
    stop() {
      clearInterval(timer);
      if (!started) return;
      draw();
      line.end();
    },
  };
}
