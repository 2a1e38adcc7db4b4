import { examineTools, type ToolReport } from '../tools/doctor.js';
import { environmentOfProcess } from './environment.js';
import type { CommandContext } from './program.js';
import { visible } from './text.js';
import { packageVersion } from './version.js';

const WORDS: Readonly<Record<Exclude<ToolReport['verdict'], 'ok'>, string>> = {
  missing: 'not found (patch-vdi doctor says how to get it)',
  'too old': 'too old (patch-vdi doctor says how to get another)',
  'unknown version': 'of unknown version (see patch-vdi doctor)',
};

function toolLine({ program, version, path, verdict }: ToolReport): string {
  const facts = [program, version, path, verdict === 'ok' ? undefined : WORDS[verdict]];
  return visible(facts.filter((fact) => fact !== undefined).join(' '), 500);
}

/**
 * `--version`: the first line is `patch-vdi X.Y.Z`, for scripts, too; then Node and the tools, `NAME VERSION PATH`. A
 * tool that is missing is told, and is no failure.
 */
export async function printVersions(context: CommandContext, wantsJson: boolean): Promise<void> {
  const tools = await examineTools(environmentOfProcess());
  if (wantsJson) {
    context.printJson({
      ok: true,
      version: packageVersion(),
      node: { version: process.versions.node, path: process.execPath },
      tools: tools.map(({ program, version = null, path = null, verdict }) => ({
        program,
        version,
        path,
        verdict,
      })),
    });
    return;
  }
  const lines = [
    `patch-vdi ${packageVersion()}`,
    visible(`node ${process.versions.node} ${process.execPath}`, 500),
    ...tools.map(toolLine),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
