import { writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runJudge, verdictAgainst } from './run-judge.js';

/** A self-signed certificate that openssl made. */
export interface Certificate {
  readonly file: string;
  readonly key: string;
  readonly certificate: string;
  /** As `openssl x509 -fingerprint -sha256` prints it, with colons. */
  readonly fingerprint: string;
}

function openssl(...args: readonly string[]): string {
  const result = runJudge('openssl', args);
  if (result.exitCode !== 0) throw verdictAgainst('openssl', args[0] ?? '', result);
  return result.stdout;
}

export interface CertificateOptions {
  /** As openssl has it; default: this machine's names. */
  readonly subjectAltName?: string;
  /** -1: it has ended yesterday. */
  readonly days?: number;
}

/** @param folder gets the files */
export function makeCertificate(
  folder: string,
  name: string,
  { subjectAltName = 'DNS:localhost,IP:127.0.0.1,IP:::1', days = 2 }: CertificateOptions = {},
): Certificate {
  const [keyFile, request, extensions, file] = ['key', 'request', 'ext', 'pem'].map((suffix) =>
    join(folder, `${name}.${suffix}`),
  ) as [string, string, string, string];
  writeFileSync(extensions, `subjectAltName=${subjectAltName}\n`);
  const kind = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  openssl('req', '-new', ...kind, '-subj', `/CN=${name}`, '-keyout', keyFile, '-out', request);
  const signed = ['-req', '-in', request, '-signkey', keyFile, '-days', String(days)];
  openssl('x509', ...signed, '-extfile', extensions, '-out', file);
  const printed = openssl('x509', '-in', file, '-noout', '-fingerprint', '-sha256');
  return {
    file,
    key: readFileSync(keyFile, 'utf8'),
    certificate: readFileSync(file, 'utf8'),
    fingerprint: printed.trim().replace(/^.*=/, ''),
  };
}
