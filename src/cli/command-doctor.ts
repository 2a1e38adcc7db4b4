import { Command } from 'commander';
import { PatchVdiError } from '../errors.js';
import { examineTools, type ToolReport } from '../tools/doctor.js';
import { environmentOfProcess } from './environment.js';
import type { CommandContext } from './program.js';
import { fieldLines } from './text.js';
import { packageVersion } from './version.js';

interface RawDoctorOptions {
  readonly json?: boolean;
  readonly all?: boolean;
}

function toolLines(report: ToolReport): string[] {
  const version = report.version ?? '-';
  const line = `  ${report.program.padEnd(10)} ${report.verdict.padEnd(16)} ${version.padEnd(9)} ${report.path ?? ''}`;
  if (report.verdict === 'ok') return [line.trimEnd()];
  const wanted = report.minimumVersion === undefined ? undefined : `${report.minimumVersion} or later`;
  const details = [
    ['needed to', report.purpose],
    ['expected', wanted],
    ['it said', report.words],
    ['to do', report.howToGet],
  ] as const;
  return [line.trimEnd(), ...fieldLines(details, 76).map((detail) => `    ${detail}`)];
}

async function doctor(raw: RawDoctorOptions, context: CommandContext): Promise<void> {
  context.useJson(raw.json === true ? 'stdout' : undefined);
  const environment = environmentOfProcess();
  const reports = await examineTools(environment, { includeTestTools: raw.all === true });
  const bad = reports.filter((report) => report.verdict !== 'ok');
  if (raw.json === true) {
    context.printJson({
      ok: bad.length === 0,
      version: packageVersion(),
      node: process.version,
      ...environment,
      tools: reports,
    });
  } else {
    const lines = [
      `patch-vdi ${packageVersion()}, Node ${process.version}`,
      ...fieldLines(
        [
          ['temporary files', environment.temporaryFolder],
          ['programs from', environment.searchPath.join(' ')],
        ],
        80,
      ),
      '',
      ...reports.flatMap(toolLines),
      '',
      bad.length === 0 ? 'All is there.' : `Not usable: ${bad.map(({ program }) => program).join(', ')}.`,
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  if (bad.length > 0)
    context.exitWith(new PatchVdiError('tool', 'native tools are missing or cannot be used'));
}

export function doctorCommand(context: CommandContext): Command {
  return new Command('doctor')
    .summary('which native tools were found, and how to get the rest')
    .description(
      'Looks for the programs that patch-vdi runs, asks each for its version, and says how to get what is missing. Exit code 7 if anything is.',
    )
    .option('--all', 'also the programs that only apply, the tests and the demo need')
    .option('--json', 'print one object')
    .action((raw: RawDoctorOptions) => doctor(raw, context));
}
