import { Command, CommanderError } from 'commander';
import { PatchVdiError } from '../errors.js';
import { buildCommand } from './command-build.js';
import { doctorCommand } from './command-doctor.js';
import { planCommand } from './command-plan.js';
import { exitCodeFor } from './exit-codes.js';
import { watchInterrupts, type Interrupts } from './interrupts.js';
import { reportError } from './report-error.js';
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
}

function makeContext(interrupts: Interrupts) {
  let json: 'stdout' | 'stderr' | undefined;
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
  };
  return { context, wantsJson: () => json !== undefined, exitCode: () => exitCode };
}

function makeProgram(context: CommandContext): Command {
  const program = new Command('patch-vdi')
    .description('Builds XenServer / XCP-ng patch disks: a signed upload becomes a sealed disk image.')
    .version(packageVersion())
    .showHelpAfterError('(add --help for all options)')
    .addCommand(buildCommand(context))
    .addCommand(planCommand(context))
    .addCommand(doctorCommand(context));
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureHelp({ helpWidth: columnsOf(process.stdout) })
      .configureOutput({ outputError: (text, write) => write(visibleLines(text)) });
  }
  return program;
}

/** commander has printed its message already; what is left is the exit code: 0 for --help, 2 for a wrong option. */
function commanderExitCode(error: CommanderError): number {
  return error.exitCode === 0 ? 0 : exitCodeFor('usage', undefined);
}

/**
 * Runs the command line.
 *
 * @param argv as in process.argv
 * @returns the exit code
 */
export async function runProgram(argv: readonly string[]): Promise<number> {
  const interrupts = watchInterrupts();
  const { context, wantsJson, exitCode } = makeContext(interrupts);
  try {
    await makeProgram(context).parseAsync(argv);
    return exitCode();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return commanderExitCode(thrown);
    const report = reportError(thrown, interrupts.stoppedBy, columnsOf(process.stderr));
    if (wantsJson()) context.printJson(report.object);
    else process.stderr.write(`${report.lines.join('\n')}\n`);
    return report.exitCode;
  }
}
