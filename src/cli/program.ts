import { Command, CommanderError } from 'commander';
import { PatchVdiError } from '../errors.js';
import { applyCommand } from './command-apply.js';
import { completionCommand, manualCommand } from './command-completion.js';
import { buildCommand } from './command-build.js';
import { diffCommand } from './command-diff.js';
import { doctorCommand } from './command-doctor.js';
import { extractCommand } from './command-extract.js';
import { inspectCommand } from './command-inspect.js';
import { planCommand } from './command-plan.js';
import { poolCommand } from './command-pool.js';
import { serveCommand } from './command-serve.js';
import { testCommand } from './command-test.js';
import { uploadCommand } from './command-upload.js';
import { verifyCommand } from './command-verify.js';
import { EXIT_DIFFERENT, EXIT_MEANINGS, exitCodeFor } from './exit-codes.js';
import { watchInterrupts, type Interrupts } from './interrupts.js';
import { errorObject, reportError } from './report-error.js';
import { columnsOf, jsonText, visibleLines } from './text.js';
import { packageVersion } from './version.js';

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

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** For the help: scripts branch on these. */
function exitCodeText(): string {
  const rows = EXIT_MEANINGS.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return ['Exit codes:', ...rows].join('\n');
}

function makeProgram(context: CommandContext, printErrors: boolean): Command {
  const program = new Command('patch-vdi')
    .description(
      'Builds XenServer / XCP-ng patch disks (a signed upload becomes a sealed disk image), and looks into them.',
    )
    .version(packageVersion())
    // So that a command may have a --version of its own.
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for all options)')
    .addCommand(buildCommand(context))
    .addCommand(planCommand(context))
    .addCommand(inspectCommand(context))
    .addCommand(extractCommand(context))
    .addCommand(verifyCommand(context))
    .addCommand(diffCommand(context))
    .addCommand(serveCommand(context))
    .addCommand(uploadCommand(context))
    .addCommand(poolCommand(context))
    .addCommand(applyCommand(context))
    .addCommand(testCommand(context))
    .addCommand(doctorCommand(context))
    .addCommand(completionCommand())
    .addCommand(manualCommand())
    .addHelpText('after', `\n${exitCodeText()}`);
  for (const command of withSubcommands(program)) {
    command
      .exitOverride()
      .configureHelp({ helpWidth: columnsOf(process.stdout) })
      .configureOutput({
        outputError(text, write) {
          if (printErrors) write(visibleLines(text, columnsOf(process.stderr)));
        },
      });
  }
  return program;
}

/** commander prints help and its own messages; what is left is JSON, and the exit code: 0 for --help, else 2. */
function finishCommander(error: CommanderError, printJson: ((object: object) => void) | undefined): number {
  if (error.exitCode === 0) return 0;
  const exitCode = exitCodeFor('usage', undefined);
  printJson?.(errorObject(new PatchVdiError('usage', error.message.replace(/^error: /, '')), exitCode));
  return exitCode;
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
  try {
    await makeProgram(context, !wantsJson()).parseAsync(argv);
    if (interrupts.defect !== undefined) throw interrupts.defect;
    return exitCode();
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      return finishCommander(thrown, wantsJson() ? (object) => context.printJson(object) : undefined);
    }
    const report = reportError(interrupts.defect ?? thrown, interrupts.stoppedBy, columnsOf(process.stderr));
    if (wantsJson()) context.printJson(report.object);
    else process.stderr.write(`${report.lines.join('\n')}\n`);
    return report.exitCode;
  }
}
