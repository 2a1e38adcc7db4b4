import { PatchVdiError } from '../errors.js';
import { compareVersions, knownTools, type ToolEnvironment } from './find.js';
import { runTool, toolFailure, type ToolResult } from './run.js';

/** What every program of e2fsprogs is called with. */
export interface E2fsprogsCall {
  readonly environment: ToolEnvironment;
  /** Seconds since 1970 that stand for "now" in all timestamps; undefined means the clock. 0 would mean the clock, too. */
  readonly epochSeconds: number | undefined;
  readonly abortSignal: AbortSignal | undefined;
}

/** E2FSPROGS_FAKE_TIME is honoured by libext2fs, so by mke2fs and debugfs alike. */
export function fakeTime(epochSeconds: number | undefined): Record<string, string> {
  const now = String(epochSeconds);
  // e2fsck has a variable of its own, and a configuration file of the host's, which is none of our business either.
  return {
    E2FSCK_CONFIG: '/dev/null',
    ...(epochSeconds === undefined ? {} : { E2FSPROGS_FAKE_TIME: now, E2FSCK_TIME: now }),
  };
}

const BANNER = /^(?:mke2fs|debugfs|e2fsck) (\d+(?:\.\d+)*)\S* \([^)]*\)$/;

/**
 * mke2fs and debugfs print an error and exit 0, so any word on stderr besides the banner is a failure. The banner,
 * which they print anyway, also tells the version without another call.
 *
 * @throws PatchVdiError `tool` with the program's own words
 */
export function requireSilence(
  program: string,
  operation: string,
  result: ToolResult,
  { environment }: Pick<E2fsprogsCall, 'environment'>,
): void {
  const lines = result.stderr.split('\n').filter((line) => line.trim() !== '');
  const banner = BANNER.exec(lines[0] ?? '');
  const minimum = knownTools().find((tool) => tool.program === program)?.minimumVersion;
  const version = banner?.[1];
  if (version !== undefined && minimum !== undefined && compareVersions(version, minimum) < 0) {
    throw new PatchVdiError('tool', `${program} is too old`, {
      context: { operation, found: `${program} ${version}`, expected: `${minimum} or later` },
      hint: 'install a newer e2fsprogs; patch-vdi doctor shows what was found and where',
    });
  }
  if (result.exitCode === 0 && lines.length === 1 && banner !== null) return;
  const failure = toolFailure(program, operation, result);
  // These programs write nothing but templates, so it is the temporary folder that is full.
  if (!result.stderr.includes('No space left on device')) throw failure;
  throw new PatchVdiError('space', 'there is no room left for temporary files', {
    context: { ...failure.context, path: environment.temporaryFolder },
    hint: 'set TMPDIR to another folder',
    cause: failure,
  });
}

interface Fsck {
  readonly result: ToolResult;
  /** What it said besides the names of its passes and its summary. */
  readonly remarks: readonly string[];
  readonly passCount: number;
}

async function runFsck(imagePath: string, call: E2fsprogsCall): Promise<Fsck> {
  const variables = fakeTime(call.epochSeconds);
  const result = await runTool('e2fsck', ['-fn', imagePath], { ...call, variables });
  const lines = result.stdout.split('\n').filter((line) => line !== '');
  const passes = lines.filter((line) => /^Pass [1-5]: /.test(line));
  const remarks = lines.filter((line) => !passes.includes(line) && !/: \d+\/\d+ files \(/.test(line));
  return { result, remarks, passCount: passes.length };
}

/**
 * Judges an ext file system of ours without changing it: `e2fsck -fn` must exit 0 and report five passes and nothing
 * else.
 *
 * @throws PatchVdiError `tool` with what e2fsck said
 */
export async function checkFilesystem(imagePath: string, call: E2fsprogsCall): Promise<void> {
  const { result, remarks, passCount } = await runFsck(imagePath, call);
  const stderr = [result.stderr.trim(), ...remarks].join('\n');
  requireSilence('e2fsck', 'find the file system clean', { ...result, stderr }, call);
  if (passCount !== 5) {
    throw new PatchVdiError('tool', 'e2fsck did not check the file system', {
      context: { operation: 'run e2fsck', found: `${passCount} passes`, expected: '5 passes' },
    });
  }
}

const MAX_REMARKS_CHARACTERS = 500;

/**
 * Judges somebody else's ext file system without changing it.
 *
 * @returns undefined when `e2fsck -fn` finds it clean; else what it said, untrusted, at most 500 characters
 * @throws PatchVdiError `tool` when e2fsck is missing or does not end, `interrupted`
 */
export async function judgeFilesystem(imagePath: string, call: E2fsprogsCall): Promise<string | undefined> {
  const { result, remarks, passCount } = await runFsck(imagePath, call);
  const complaints = result.stderr.split('\n').filter((line) => line.trim() !== '' && !BANNER.test(line));
  const said = [...complaints, ...remarks];
  if (result.exitCode === 0 && passCount === 5 && said.length === 0) return undefined;
  const ending = result.signal ?? `exit code ${result.exitCode}`;
  return [ending, ...said].join('\n').slice(0, MAX_REMARKS_CHARACTERS);
}
