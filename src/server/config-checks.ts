import { isLoopback } from './addresses.js';
import type { RawConfig } from './config-schema.js';
import type { Complaint, YamlPath, YamlText } from './yaml-text.js';

/** What the schema cannot see: keys that depend on one another. */

type Fault = readonly [YamlPath, Complaint];

const TWICE = 'two of the configuration have the same';

/** The second of two equal values. */
function repeated(list: string, key: string, values: readonly (string | undefined)[]): Fault[] {
  const seen = new Set<string>();
  for (const [index, value] of values.entries()) {
    if (value === undefined) continue;
    if (seen.has(value)) {
      const path = [list, index, key];
      return [
        [path, { message: `${TWICE} ${key}`, found: `${list}[${index}].${key}`, expected: 'another one' }],
      ];
    }
    seen.add(value);
  }
  return [];
}

function repositoryFaults({ storage_repositories: all = [] }: RawConfig): Fault[] {
  const defaults = all.flatMap((repository, index) => (repository.default === true ? [index] : []));
  const second = defaults[1];
  const list = 'storage_repositories';
  return [
    ...repeated(
      list,
      'path',
      all.map((one) => one.path),
    ),
    ...repeated(
      list,
      'uuid',
      all.map((one) => one.uuid?.toLowerCase()),
    ),
    ...(second === undefined
      ? []
      : [
          [
            [list, second, 'default'],
            { message: 'a pool has one default SR', found: 'a second one', expected: 'one default: true' },
          ] as const,
        ]),
  ];
}

function userFaults({ users = [] }: RawConfig): Fault[] {
  const lacking = users.flatMap((user, index): Fault[] => {
    const given = [user.password_hash, user.password_file].filter((value) => value !== undefined).length;
    if (given === 1) return [];
    const found = given === 0 ? 'none of them' : 'both';
    const message = `users[${index}] needs one password`;
    return [[['users', index], { message, found, expected: 'password_hash or password_file' }]];
  });
  return [
    ...repeated(
      'users',
      'name',
      users.map(({ name }) => name),
    ),
    ...lacking,
  ];
}

function tlsFaults({ tls, listen }: RawConfig): Fault[] {
  if (tls === undefined) return [];
  const address = listen?.address ?? '127.0.0.1';
  if (typeof tls === 'string') {
    if (isLoopback(address)) return [];
    const complaint = {
      message: 'passwords and sessions would cross the network in the clear',
      found: `tls: off, and listen.address ${address}`,
      expected: 'TLS, or a loopback address such as 127.0.0.1',
      hint: 'leave tls out: the server makes a certificate of its own',
    };
    return [[['tls'], complaint]];
  }
  const hasFiles = tls.certificate !== undefined || tls.key !== undefined;
  const isPair = tls.certificate !== undefined && tls.key !== undefined;
  const message = 'tls is not right';
  const expected = 'certificate and key, or self_signed';
  if (hasFiles && tls.self_signed !== undefined)
    return [[['tls'], { message, found: 'all of them', expected }]];
  if (hasFiles && !isPair) return [[['tls'], { message, found: 'one of two files', expected }]];
  if (!hasFiles && tls.self_signed === undefined) return [[['tls'], { message, found: 'nothing', expected }]];
  return [];
}

function limitFaults({ limits = {} }: RawConfig): Fault[] {
  const { requests_at_once: all, requests_per_client: each } = limits;
  if (typeof all !== 'number' || typeof each !== 'number' || each <= all) return [];
  const found = `${each} for each of them, ${all} for all`;
  const message = 'one client may have more than all clients';
  return [[['limits', 'requests_per_client'], { message, found, expected: 'no more than requests_at_once' }]];
}

/** @throws PatchVdiError `usage` for the fault that comes first in the text */
export function checkConfig(raw: RawConfig, yaml: YamlText): void {
  const faults = [repositoryFaults, userFaults, tlsFaults, limitFaults].flatMap((check) => check(raw));
  const placed = faults.map(([path, complaint]) => ({
    path,
    complaint,
    offset: yaml.offsetOf(path, 'value'),
  }));
  const first = placed.toSorted((a, b) => a.offset - b.offset)[0];
  if (first !== undefined) throw yaml.complain(first.path, first.complaint);
}
