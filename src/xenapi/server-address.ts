import { isIP } from 'node:net';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';

/** Where a server listens. */
export interface ServerAddress {
  /** TLS. */
  readonly secure: boolean;
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** `https://host:8443`, for messages. */
  readonly name: string;
}

export interface AddressRules {
  /** Also to other machines: the password then travels for everybody to read. */
  readonly allowPlainHttp?: boolean | undefined;
}

/** A host with a port behind it, as a slave names its master: `10.0.0.1`, `fd00::1`, `[fd00::1]:443`, `host:8443`. */
const HOST_AND_PORT = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z](?:[0-9A-Za-z.-]{0,252})))(?::(\d{1,5}))?$/;

const bracketed = (host: string): string => (isIP(host) === 6 ? `[${host}]` : host);

function addressOf(secure: boolean, host: string, port: number, rules: AddressRules): ServerAddress {
  const name = `${secure ? 'https' : 'http'}://${bracketed(host)}:${port}`;
  if (!secure && !isLoopback(host) && rules.allowPlainHttp !== true) {
    throw new PatchVdiError('usage', 'a password is not sent over plain http to another machine', {
      context: { path: name, found: 'http://', expected: 'https://, or a server on this machine' },
      hint: 'use https://; --ca-file or --fingerprint says which certificate to trust',
    });
  }
  return { secure, host, port, name };
}

/** Whether it is this machine, whatever a name server says. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function refuseUrl(found: string, hint?: string): never {
  throw new PatchVdiError('usage', 'the server has no usable URL', {
    context: { found, expected: 'https://host or https://host:port' },
    ...(hint === undefined ? {} : { hint }),
  });
}

/**
 * The URL of a server, as a user gives it.
 *
 * @throws PatchVdiError `usage`, which repeats nothing that may be a password
 */
export function parseServerUrl(text: string, rules: AddressRules = {}): ServerAddress {
  if (HOST_AND_PORT.test(text)) return refuseUrl('a name without https:// before it', `say https://${text}`);
  if (!URL.canParse(text)) return refuseUrl('a text that is no URL');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return refuseUrl(printable(url.protocol, 20));
  if (url.username !== '' || url.password !== '') {
    return refuseUrl(
      'a URL with a name or a password in it',
      'everybody on this machine can read the arguments of a program: use --user, and --password-file or PATCH_VDI_PASSWORD',
    );
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') return refuseUrl('a URL with a path');
  const secure = url.protocol === 'https:';
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return addressOf(secure, url.hostname.replace(/^\[|\]$/g, ''), port, rules);
}

/**
 * The master that a slave names in `HOST_IS_SLAVE`: reached as the slave was, by TLS or not, and on the same port
 * unless there is one behind the name.
 *
 * @returns undefined when that is no address
 * @throws PatchVdiError `usage` when it may not be reached like that
 */
export function masterOf(
  slave: ServerAddress,
  text: string,
  rules: AddressRules = {},
): ServerAddress | undefined {
  if (isIP(text) === 6) return addressOf(slave.secure, text, slave.port, rules);
  const match = HOST_AND_PORT.exec(text);
  if (match === null) return undefined;
  const [, inBrackets, plain, digits] = match;
  const host = inBrackets ?? plain ?? '';
  if (inBrackets !== undefined && isIP(inBrackets) !== 6) return undefined;
  const port = digits === undefined ? slave.port : Number(digits);
  return port < 1 || port > 65_535 ? undefined : addressOf(slave.secure, host, port, rules);
}

/**
 * The host that a redirect names. Credentials follow to it, so it must be reached by the same scheme, and for the same
 * path; the rest of the location (XAPI puts the session into it) is not used.
 *
 * @returns undefined for any other redirect
 * @throws PatchVdiError `usage` when it may not be reached like that
 */
export function redirectAddress(
  from: ServerAddress,
  location: string,
  path: string,
): ServerAddress | undefined {
  if (!URL.canParse(location)) return undefined;
  const url = new URL(location);
  const secure = url.protocol === 'https:';
  if (secure !== from.secure || (!secure && url.protocol !== 'http:') || url.pathname !== path)
    return undefined;
  if (url.username !== '' || url.password !== '') return undefined;
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return addressOf(secure, url.hostname.replace(/^\[|\]$/g, ''), port, {});
}

/** As the Host field has it (RFC 9110 §7.2). */
export function hostField({ host, port }: ServerAddress): string {
  return `${bracketed(host)}:${port}`;
}
