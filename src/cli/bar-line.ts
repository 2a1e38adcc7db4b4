import { wantsEscapes } from './environment.js';

/** One line of a terminal that is written over again and again. */
export interface BarLine {
  show(text: string): void;
  /** Leaves what it shows, and goes on to the next line. */
  end(): void;
}

/** With the start of the line alone: for terminals that know no more, and for who wants no control sequences. */
function plainLine(): BarLine {
  let shown = '';
  return {
    show(text) {
      process.stderr.write(`\r${text.padEnd(shown.length)}`);
      shown = text;
    },
    end: () => void process.stderr.write('\n'),
  };
}

/** On stderr. Loads the bar package, so call it only where a bar will be shown. */
export async function openBarLine(): Promise<BarLine> {
  if (!wantsEscapes()) return plainLine();
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar({
    format: '{text}',
    hideCursor: true,
    clearOnComplete: false,
    stopOnComplete: false,
    linewrap: false,
  });
  let started = false;
  return {
    show(text) {
      if (started) bar.update(0, { text });
      else bar.start(1, 0, { text });
      started = true;
    },
    end() {
      if (started) bar.stop();
    },
  };
}
