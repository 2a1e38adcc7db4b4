import type { Command } from 'commander';
import type { UploadOptions } from '../build/options.js';

/** Options of every command that opens an upload, as commander hands them over. */
export interface RawSourceOptions {
  readonly member?: string;
  readonly unzip: boolean;
}

export function addSourceOptions(command: Command): Command {
  return command
    .option('--member <name>', 'the member of a ZIP file; default: the one *.xsupdate')
    .option('--no-unzip', 'a ZIP file is the upload itself');
}

export function readSourceOptions(raw: RawSourceOptions): UploadOptions {
  return { member: raw.member, unzip: raw.unzip };
}
