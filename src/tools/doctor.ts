import { isPatchVdiError, PatchVdiError } from '../errors.js';
import {
  compareVersions,
  findProgram,
  knownTools,
  type KnownTool,
  type PackageManager,
  type ToolEnvironment,
} from './find.js';
import { packageFile } from './package-files.js';
import { runTool } from './run.js';

/** What was found out about one program. */
export interface ToolReport {
  readonly program: string;
  /** What this project uses it for, as a phrase after its name: `formats the template`. */
  readonly purpose: string;
  /** Where it was found; absent when it is missing. */
  readonly path?: string;
  /** Dotted numbers, `1.47.0`. */
  readonly version?: string;
  /** The oldest version that may be used; absent when any will do. */
  readonly minimumVersion?: string;
  readonly verdict: 'ok' | 'missing' | 'too old' | 'unknown version';
  /** What it said, or what became of it, when the verdict is `unknown version`. Untrusted, at most 200 characters. */
  readonly words?: string;
  /** How to get a program that is right; absent when the verdict is `ok`. */
  readonly howToGet?: string;
}

export interface ExamineOptions {
  /** Also what only `apply`, the tests, the demo and the benchmark need. */
  readonly includeTestTools?: boolean;
  /** How long a program may take to say its version. Default 5000. */
  readonly timeLimitMilliseconds?: number;
}

const TIME_LIMIT_MILLISECONDS = 5000;
/** After the limit a program is asked to end; this long it has to do so before it is given up. */
const GRACE_MILLISECONDS = 200;
const MAX_WORDS_CHARACTERS = 200;

/** The programs of e2fsprogs know no `--version`. */
const PROGRAMS_WITH_SHORT_OPTION = new Set(['mke2fs', 'debugfs', 'e2fsck', 'dumpe2fs']);

/** What native-tools/install.sh must be told to install such programs, too. */
const SCRIPT_OPTIONS: Readonly<Record<KnownTool['neededFor'], string>> = {
  build: '',
  apply: ' --apply',
  test: ' --dev',
};

/** How each package manager is called and told to install something. */
const PACKAGE_MANAGERS: ReadonlyArray<{ manager: PackageManager; program: string; install: string }> = [
  { manager: 'apt', program: 'apt-get', install: 'apt-get install' },
  { manager: 'dnf', program: 'dnf', install: 'dnf install' },
  { manager: 'apk', program: 'apk', install: 'apk add' },
  { manager: 'brew', program: 'brew', install: 'brew install' },
];

/**
 * Finds every program of native-tools/tools.tsv that building needs, and asks each for its version, all at once.
 * One broken program is a report, never an exception.
 *
 * @returns one report for each program, in the order of the list
 */
export function examineTools(
  environment: ToolEnvironment,
  options: ExamineOptions = {},
): Promise<ToolReport[]> {
  const wanted = knownTools().filter(
    (tool) => tool.neededFor === 'build' || options.includeTestTools === true,
  );
  return Promise.all(wanted.map((tool) => examine(tool, environment, options)));
}

async function examine(
  tool: KnownTool,
  environment: ToolEnvironment,
  options: ExamineOptions,
): Promise<ToolReport> {
  const { program, purpose, minimumVersion } = tool;
  const path = findProgram(program, environment.searchPath);
  const known = { program, purpose, ...(minimumVersion === undefined ? {} : { minimumVersion }) };
  const howToGet = () => howToGetIt(tool, environment);
  if (path === undefined) return { ...known, verdict: 'missing', howToGet: howToGet() };

  const answer = await askVersion(program, environment, options);
  if (answer.version === undefined) {
    // Without a minimum it is enough that the program runs: busybox's mount does not know the question.
    if (answer.ended && minimumVersion === undefined) return { ...known, path, verdict: 'ok' };
    return { ...known, path, verdict: 'unknown version', words: answer.words, howToGet: howToGet() };
  }
  const found = { ...known, path, version: answer.version };
  const isTooOld = minimumVersion !== undefined && compareVersions(answer.version, minimumVersion) < 0;
  return isTooOld ? { ...found, verdict: 'too old', howToGet: howToGet() } : { ...found, verdict: 'ok' };
}

interface VersionAnswer {
  /** False when it could not be started or had to be stopped. */
  readonly ended: boolean;
  readonly version?: string;
  readonly words: string;
}

async function askVersion(
  program: string,
  environment: ToolEnvironment,
  options: ExamineOptions,
): Promise<VersionAnswer> {
  const args = [PROGRAMS_WITH_SHORT_OPTION.has(program) ? '-V' : '--version'];
  const timeoutMilliseconds = options.timeLimitMilliseconds ?? TIME_LIMIT_MILLISECONDS;
  try {
    const running = runTool(program, args, { environment, timeoutMilliseconds });
    const result = await within(timeoutMilliseconds + GRACE_MILLISECONDS, program, running);
    // e2fsprogs print their version on stderr, the others on stdout.
    const text = `${result.stdout}\n${result.stderr}`;
    const version = versionIn(text);
    return { ended: true, words: shorten(text), ...(version === undefined ? {} : { version }) };
  } catch (error) {
    return { ended: false, words: shorten(describeFailure(error)) };
  }
}

/**
 * Gives up waiting for a program that cannot be ended: one that ignores the signal, or whose own child still holds
 * its output open. Its remains may keep the event loop busy, so whoever prints the reports should then exit.
 */
async function within<T>(milliseconds: number, program: string, running: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    const giveUp = () => reject(new PatchVdiError('tool', `${program} did not end in time`));
    timer = setTimeout(giveUp, milliseconds);
  });
  try {
    return await Promise.race([running, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** The first word that looks like `1.47.0`, in whatever sentence it stands. install.sh uses the same rule. */
function versionIn(text: string): string | undefined {
  return /(?:^|\s)(\d+(?:\.\d+)+)/.exec(text)?.[1];
}

function describeFailure(error: unknown): string {
  if (!isPatchVdiError(error)) return String(error);
  return [error.message, error.context.found].filter((part) => part !== undefined && part !== '').join(': ');
}

/** One line without control characters: a terminal may see it. */
function shorten(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim();
  return line === '' ? 'no message' : line.slice(0, MAX_WORDS_CHARACTERS);
}

/** One sentence: the package for the package manager of this machine, and the script that does it. */
function howToGetIt(tool: KnownTool, environment: ToolEnvironment): string {
  const script = shellWord(packageFile('native-tools/install.sh'));
  const byScript = `sh ${script}${SCRIPT_OPTIONS[tool.neededFor]}`;
  const manager = PACKAGE_MANAGERS.find(
    ({ program }) => findProgram(program, environment.searchPath) !== undefined,
  );
  const wanted =
    tool.minimumVersion === undefined ? tool.program : `${tool.program} ${tool.minimumVersion} or later`;
  if (manager === undefined) {
    return `install ${wanted} (no apt-get, dnf, apk or brew in ${environment.searchPath.join(':')})`;
  }
  const packageName = tool.packages[manager.manager];
  if (packageName === '-') return `install ${wanted} (${manager.manager} has no package of it)`;
  return `${manager.install} ${packageName}, or everything that is missing: ${byScript}`;
}

/** A path as a word of a shell command, for people to copy. */
function shellWord(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
