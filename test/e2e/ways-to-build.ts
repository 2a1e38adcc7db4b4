import { statSync } from 'node:fs';
import { mustBuild, type RunOptions, type Way } from './cli.js';
import type { Workspace } from './workspace.js';

/** Those of tests of faults: what a fixed VHD does is what a raw image does. */
export const FORMATS = ['raw', 'vhd'] as const;
export const ALL_FORMATS = ['raw', 'vhd', 'vhd-fixed'] as const;
export type BuildFormat = (typeof ALL_FORMATS)[number];

/** By name, or through a pipe or redirection. */
export type Access = 'file' | Way;
export const ACCESSES: readonly Access[] = ['file', 'pipe', 'redirection'];

/** Makes all ways of one build comparable byte for byte. */
export const FIXED: readonly string[] = ['--allow-unsigned', '--source-date-epoch', '1700000000'];

/** Builds in one of the nine ways: where the upload comes from times where the image goes. Returns the image's path. */
export async function buildIn(
  work: Workspace,
  upload: string,
  format: BuildFormat,
  [source, sink]: readonly [Access, Access],
  args: readonly string[] = FIXED,
): Promise<string> {
  const image = work.output(`${source}-${sink}.${format}`);
  const length = source === 'pipe' ? ['--content-length', String(statSync(upload).size)] : [];
  const output = ['--format', format, ...(sink === 'file' ? ['-o', image] : [])];
  const options: RunOptions = {
    ...(source === 'file' ? {} : { stdin: { path: upload, through: source } }),
    ...(sink === 'file' ? {} : { stdout: { path: image, through: sink } }),
  };
  await mustBuild(work, [source === 'file' ? upload : '-', ...length, ...output, ...args], options);
  return image;
}
