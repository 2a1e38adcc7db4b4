import { CommanderError, type Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import { advice } from './advice.js';
import { EXIT_DIFFERENT, exitCodeFor } from './exit-codes.js';
import { watchInterrupts, type Interrupts } from './interrupts.js';
import { makeProgram, VERSION_ASKED } from './make-program.js';
import { errorObject, reportError } from './report-error.js';
import { columnsOf, jsonText } from './text.js';

/** What a command gets from the program around it. */
export interface CommandContext {
  readonly interrupts: Interrupts;
  /** Where the one JSON object goes, results and errors alike; undefined means text for people. */
  useJson(stream: 'stdout' | 'stderr' | undefined): void;
  printJson(object: object): void;
  /** Ends with that error's exit code, though everything was printed already. */
  exitWith(error: PatchVdiError): void;
  /** Ends as diff(1) does when it has found a difference. */
  exitDifferent(): void;
}

/**
 * Where the one JSON object goes when the command line cannot be parsed: standard output, unless an image was to go
 * there.
 */
function jsonStreamOf(argv: readonly string[]): 'stdout' | 'stderr' | undefined {
  if (!argv.includes('--json')) return undefined;
  const namesOutput = argv.some((word, index) => {
    if (word === '-o' || word === '--output') return argv[index + 1] !== '-';
    return /^(-o|--output=)./.test(word);
  });
  if (argv[2] === 'pool') {
    const toStdout = (argv[3] === 'download' || argv[3] === 'vdi-extract') && !namesOutput;
    return toStdout ? 'stderr' : 'stdout';
  }
  return (argv[2] === 'build' || argv[2] === 'extract') && !namesOutput ? 'stderr' : 'stdout';
}

function makeContext(interrupts: Interrupts, argv: readonly string[]) {
  let json = jsonStreamOf(argv);
  let exitCode = 0;
  const context: CommandContext = {
    interrupts,
    useJson(stream) {
      json = stream;
    },
    printJson(object) {
      process[json ?? 'stdout'].write(`${jsonText(object)}\n`);
    },
    exitWith(error) {
      exitCode = exitCodeFor(error.kind, undefined);
    },
    exitDifferent() {
      exitCode = EXIT_DIFFERENT;
    },
  };
  return { context, wantsJson: () => json !== undefined, exitCode: () => exitCode };
}

/** commander prints help and its own messages; what is left is JSON, and the exit code: 0 for --help, else 2. */
function finishCommander(
  program: Command,
  error: CommanderError,
  printJson: ((object: object) => void) | undefined,
): number {
  if (error.exitCode === 0) return 0;
  const exitCode = exitCodeFor('usage', undefined);
  const message = error.message.replace(/^error: /, '') + advice(program, error.message);
  printJson?.(errorObject(new PatchVdiError('usage', message), exitCode));
  return exitCode;
}

/** `help pool upload` as `pool upload --help`, at any depth; what is no command is told as such. */
function helpAsOption(program: Command, argv: readonly string[]): readonly string[] {
  const words = argv.slice(3);
  if (argv[2] !== 'help' || words.length === 0 || words.some((word) => word.startsWith('-'))) return argv;
  let command: Command | undefined = program;
  for (const [depth, word] of words.entries()) {
    command = command.commands.find((one) => one.name() === word);
    if (command === undefined) return [...argv.slice(0, 2), ...words.slice(0, depth + 1)];
  }
  return [...argv.slice(0, 2), ...words, '--help'];
}

/**
 * Runs the command line.
 *
 * @param argv as in process.argv
 * @returns the exit code
 */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const interrupts = watchInterrupts();
  const { context, wantsJson, exitCode } = makeContext(interrupts, argv);
  const program = makeProgram(context, !wantsJson());
  try {
    await program.parseAsync(helpAsOption(program, argv)).catch(async (error: unknown) => {
      if (!(error instanceof CommanderError) || error.code !== VERSION_ASKED) throw error;
      const { printVersions } = await import('./versions.js');
      await printVersions(context, wantsJson());
    });
    if (interrupts.defect !== undefined) throw interrupts.defect;
    return exitCode();
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      const printJson = wantsJson() ? (object: object) => context.printJson(object) : undefined;
      return finishCommander(program, thrown, printJson);
    }
    const report = reportError(interrupts.defect ?? thrown, interrupts.stoppedBy, columnsOf(process.stderr));
    if (wantsJson()) context.printJson(report.object);
    else process.stderr.write(`${report.lines.join('\n')}\n`);
    return report.exitCode;
  }
}
