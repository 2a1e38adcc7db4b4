import { Option, type Command } from 'commander';
import type { SinkOption, SourceOption, UploadOptions } from '../build/options.js';
import { PatchVdiError } from '../errors.js';
import { isHttpUrl, type HttpHeaders } from '../io/http.js';

/** Options of every command that opens an upload, as commander hands them over. */
export interface RawSourceOptions {
  readonly member?: string;
  readonly unzip: boolean;
  readonly header?: readonly string[];
  readonly idleTimeout?: string;
}

/** For options that may be given more than once. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function addSourceOptions(command: Command): Command {
  return command
    .option('--member <name>', 'the member of a ZIP file; default: the one *.xsupdate')
    .option('--no-unzip', 'a ZIP file is the upload itself')
    .option('--header <header>', '"Name: value" for the server of the upload (repeatable)', collect)
    .addOption(
      new Option(
        '--idle-timeout <seconds>',
        'how long source or output may stall, 0: for ever; default: 300 for http(s), else 0',
      ),
    );
}

/** @throws PatchVdiError `usage` */
export function readSourceOptions(raw: RawSourceOptions): UploadOptions {
  return { member: raw.member, unzip: raw.unzip, idleTimeoutSeconds: seconds(raw.idleTimeout) };
}

/** @throws PatchVdiError `usage` */
export function seconds(text: string | undefined, option = '--idle-timeout'): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,10}(\.\d{1,3})?$/.test(text)) return Number(text);
  throw new PatchVdiError('usage', `${option} is not a number of seconds`, {
    context: { found: JSON.stringify(text), expected: 'seconds, such as 30 or 0.5' },
  });
}

/** `Name: value`, as curl takes it. Values are never repeated in messages: they may be secrets. */
export function headersOf(option: string, lines: readonly string[]): HttpHeaders {
  const headers: Record<string, string> = {};
  const seen = new Set<string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).trim();
    const twice = seen.has(name.toLowerCase());
    if (name === '' || twice) {
      throw new PatchVdiError('usage', `${option} cannot be used`, {
        context: { found: twice ? `${name} twice` : 'a header without a name', expected: '"Name: value"' },
      });
    }
    seen.add(name.toLowerCase());
    headers[name] = line.slice(colon + 1).trim();
  }
  return headers;
}

/** @throws PatchVdiError `usage` when there are headers to send and no server */
export function onlyForUrls(option: string, lines: readonly string[] | undefined): void {
  if (lines === undefined) return;
  throw new PatchVdiError('usage', `${option} is for http(s) URLs`, {
    context: { found: 'no URL', expected: 'http://… or https://…' },
  });
}

/** @throws PatchVdiError `usage` */
export function sourceOption(upload: string, header: readonly string[] | undefined): SourceOption {
  if (isHttpUrl(upload)) return { url: upload, headers: headersOf('--header', header ?? []) };
  onlyForUrls('--header', header);
  return upload === '-' ? { fd: 0, name: 'standard input' } : upload;
}

/** @throws PatchVdiError `usage` */
/** What an output with a name may be told. */
export interface RawSinkOptions {
  readonly force?: boolean;
  readonly targetIsZeroed?: boolean;
}

export function sinkOption(
  output: string,
  { force = false, targetIsZeroed = false }: RawSinkOptions,
  header: readonly string[] | undefined,
): SinkOption {
  if (isHttpUrl(output)) return { url: output, headers: headersOf('--output-header', header ?? []) };
  onlyForUrls('--output-header', header);
  if (output === '-') return { fd: 1, name: 'standard output' };
  return { path: output, force, targetIsZeroed };
}
