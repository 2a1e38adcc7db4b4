import prettyBytes from 'pretty-bytes';

/** How far something is that moves bytes. */
export interface BarProgress {
  readonly phase: 'spool' | 'write' | 'verify' | 'send' | 'copy';
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
  const { bytes, totalBytes } = progress;
  const left = totalBytes === undefined ? '' : describeSeconds((totalBytes - bytes) / bytesPerSecond);
  return {
    amount: totalBytes === undefined ? iec(bytes) : `${iec(bytes)} / ${iec(totalBytes)}`,
    rate: bytesPerSecond > 0 ? `${iec(bytesPerSecond)}/s` : '',
    left,
  };
}

/** Loads the bar package, so call it only where a bar will be shown. */
export async function startProgressBar(): Promise<ProgressBar> {
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar({
    format: '{phase} [{bar}] {percentage}%  {amount}  {rate}  {left}',
    // The longest texts, `1023.9 MiB / 1023.9 MiB  1023.9 MiB/s  9:59:59`, leave this much of 80 columns.
    barsize: 14,
    barCompleteChar: '#',
    barIncompleteChar: '-',
    hideCursor: true,
    clearOnComplete: false,
    stopOnComplete: false,
    linewrap: false,
  });
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
    // Without a length the bar has no end to run towards: it stays empty and the texts tell.
    const total = latest.totalBytes ?? Number.MAX_SAFE_INTEGER;
    const payload = {
      phase: PHASE_NAMES[latest.phase],
      ...progressTexts(latest, rate),
    };
    if (!started) bar.start(total, latest.bytes, payload);
    else {
      bar.setTotal(total);
      bar.update(latest.bytes, payload);
    }
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
      bar.stop();
    },
  };
}
