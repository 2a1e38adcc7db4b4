import { Command, CommanderError, Help } from 'commander';
import { advice } from './advice.js';
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
import { refuseEmptyNames } from './empty-names.js';
import { examplesText } from './examples.js';
import { EXIT_MEANINGS } from './exit-codes.js';
import type { CommandContext } from './program.js';
import { columnsOf, visibleLines } from './text.js';

/** `--version` was given: looking for the tools takes a while, which commander does not wait for. */
export const VERSION_ASKED = 'patch-vdi.version';

/** A command and all below it. */
export function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** For the help: scripts branch on these. */
function exitCodeText(): string {
  const rows = EXIT_MEANINGS.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return ['Exit codes:', ...rows].join('\n');
}

/**
 * The whole command line, with nothing run yet.
 *
 * @param printErrors what commander has to say of a wrong command line; else it is only thrown
 */
export function makeProgram(context: CommandContext, printErrors: boolean): Command {
  const program = new Command('patch-vdi')
    .description(
      'Builds XenServer / XCP-ng patch disks (a signed upload becomes a sealed disk image), and looks into them.',
    )
    .option('-V, --version', 'versions of this program and of the tools that it runs; --json: one object')
    .on('option:version', () => {
      throw new CommanderError(0, VERSION_ASKED, '');
    })
    // So that a command may have a --version of its own.
    .enablePositionalOptions()
    .hook('preAction', (_program, command) => refuseEmptyNames(command))
    .showHelpAfterError(printErrors ? '(add --help for all options)' : false)
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
      .configureHelp({
        helpWidth: columnsOf(process.stdout),
        formatHelp(about, helper) {
          return Help.prototype.formatHelp.call(helper, about, helper) + examplesText(about);
        },
      })
      .configureOutput({
        outputError(text, write) {
          if (!printErrors) return;
          const said = text.trimEnd();
          write(visibleLines(`${said}${advice(program, said)}\n`, columnsOf(process.stderr)));
        },
      });
  }
  return program;
}
