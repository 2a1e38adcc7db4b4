/* One wrong line of a configuration a case, with what is said about it: long, as the list of settings is. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPatchVdiError, type PatchVdiError } from '../../src/errors.js';
import { LIMITS } from '../../src/server/limits.js';
import { defaultServeConfig, parseServeConfig, readServeConfig } from '../../src/server/serve-config.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const FILE = { fileName: 'pool.yaml', folder: '/etc/patch-vdi' };
const UUID = '11111111-1111-4111-8111-11111111111A';
const HASH = '$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
const SIGNER = '0123 4567 89AB CDEF 0123  4567 89ab cdef 0123 4567';

function refusal(text: string): PatchVdiError {
  try {
    parseServeConfig(text, FILE);
  } catch (error) {
    if (isPatchVdiError(error)) return error;
    throw error;
  }
  throw new Error(`it was not refused: ${text.slice(0, 200)}`);
}

const WHOLE = `# every key there is
listen:
  address: 0.0.0.0
  port: 443
host: {name_label: "host one", address: pool.example}
storage_repositories:
  - name_label: Local
    path: sr/local
    default: true
    quota: 100G
  - name_label: NFS
    path: /mnt/nfs/../sr
    uuid: ${UUID}
    shared: true
    capabilities: [VDI_CREATE, VDI_DELETE]
users:
  - name: root
    role: pool-admin
    password_hash: ${HASH}
  - {name: reader, role: read-only, password_file: secrets/reader}
tls:
  certificate: tls/cert.pem
  key: /etc/ssl/private/key.pem
signature:
  keyrings: [vendor.gpg, ../ours.asc]
  signers: ["${SIGNER}"]
  allow_weak_digest: true
  allow_expired_key: false
limits:
  connections_at_once: 100
  requests_at_once: 90
  connections_per_client: 90
  requests_per_client: 80
  uploads_at_once: 7
  header_seconds: 6
  idle_seconds: 50
  idle_bytes: 4K
  call_seconds: 3
  keep_alive_seconds: 4
  header_bytes: 8K
  body_bytes: 65536
log: {level: debug}
`;

test('every key arrives, every path from the folder of the file', () => {
  expect(parseServeConfig(WHOLE, FILE)).toEqual({
    listen: { address: '0.0.0.0', port: 443 },
    host: { nameLabel: 'host one', address: 'pool.example' },
    storageRepositories: [
      {
        nameLabel: 'Local',
        path: '/etc/patch-vdi/sr/local',
        uuid: undefined,
        isDefault: true,
        shared: false,
        capabilities: ['VDI_CLONE'],
        quotaBytes: 107_374_182_400,
      },
      {
        nameLabel: 'NFS',
        path: '/mnt/sr',
        uuid: '11111111-1111-4111-8111-11111111111a',
        isDefault: false,
        shared: true,
        capabilities: ['VDI_CREATE', 'VDI_DELETE'],
        quotaBytes: undefined,
      },
    ],
    users: [
      { name: 'root', role: 'pool-admin', passwordHash: HASH, passwordFile: undefined },
      {
        name: 'reader',
        role: 'read-only',
        passwordHash: undefined,
        passwordFile: '/etc/patch-vdi/secrets/reader',
      },
    ],
    tls: {
      kind: 'files',
      certificatePath: '/etc/patch-vdi/tls/cert.pem',
      keyPath: '/etc/ssl/private/key.pem',
    },
    signature: {
      keyrings: ['/etc/patch-vdi/vendor.gpg', '/etc/ours.asc'],
      signers: [SIGNER],
      allowWeakDigest: true,
      allowExpiredKey: false,
    },
    limits: {
      connectionsAtOnce: 100,
      requestsAtOnce: 90,
      connectionsPerClient: 90,
      requestsPerClient: 80,
      uploadsAtOnce: 7,
      headerSeconds: 6,
      idleSeconds: 50,
      idleBytes: 4096,
      callSeconds: 3,
      keepAliveSeconds: 4,
      headerBytes: 8192,
      bodyBytes: 65_536,
    },
    log: { level: 'debug' },
  });
});

const BY_DEFAULT = {
  listen: { address: '127.0.0.1', port: 8443 },
  host: { nameLabel: undefined, address: undefined },
  storageRepositories: [],
  users: undefined,
  tls: { kind: 'self-signed', names: undefined },
  signature: { keyrings: [] },
  limits: {
    connectionsAtOnce: 512,
    requestsAtOnce: 256,
    connectionsPerClient: 256,
    requestsPerClient: 128,
    uploadsAtOnce: 16,
    headerSeconds: 10,
    idleSeconds: 60,
    idleBytes: 65_536,
    callSeconds: 30,
    keepAliveSeconds: 15,
    headerBytes: 16_384,
    bodyBytes: 1_048_576,
  },
  log: { level: 'info' },
};

test.for([
  '',
  '\n',
  '# nothing\n',
  '---\n',
  '{}',
  'listen: {}\nlog: {}\n',
  '\ufeff{}',
  '%YAML 1.2\n---\n{}\n',
])('without keys everything is as it is by default (%j)', (text) => {
  expect(parseServeConfig(text, FILE)).toEqual(BY_DEFAULT);
  expect(defaultServeConfig()).toEqual(BY_DEFAULT);
});

test.for([
  ['tls: off', { kind: 'off' }],
  ['tls: off\nlisten: {address: "::1"}', { kind: 'off' }],
  ['tls: off\nlisten: {address: localhost}', { kind: 'off' }],
  ['tls: off\nlisten: {address: 127.8.9.10}', { kind: 'off' }],
  ['tls: {self_signed: }', { kind: 'self-signed', names: undefined }],
  ['tls: {self_signed: {names: [a.example, "::1"]}}', { kind: 'self-signed', names: ['a.example', '::1'] }],
] as const)('TLS: %s', ([text, expected]) => {
  expect(parseServeConfig(text, FILE).tls).toEqual(expected);
});

test('anchors and aliases repeat a value', () => {
  const text =
    'host: {name_label: &name one.example, address: *name}\ntls: {self_signed: {names: [*name]}}\n';
  const { host, tls } = parseServeConfig(text, FILE);
  expect(host).toEqual({ nameLabel: 'one.example', address: 'one.example' });
  expect(tls).toEqual({ kind: 'self-signed', names: ['one.example'] });
});

/** Text, place, and a part of what is found, of what is expected, and of the hint. */
const REFUSED: readonly (readonly [string, string, string, string, string?])[] = [
  ['lisen: {}', '1:1', 'lisen', 'one of listen, host', 'did you mean listen?'],
  ['listen:\n  prot: 1\n', '2:3', 'listen.prot', 'one of address, port', 'did you mean port?'],
  ['log: {levle: info}', '1:7', 'log.levle', 'one of level', 'did you mean level?'],
  [
    'limits:\n  idle-seconds: 5\n',
    '2:3',
    'limits.idle-seconds',
    'idle_seconds',
    'did you mean idle_seconds?',
  ],
  ['tls: {self_signed: {name: [a]}}', '1:21', 'tls.self_signed.name', 'one of names', 'did you mean names?'],
  [
    'tls:\n  certificat: x\n',
    '2:3',
    'tls.certificat',
    'one of certificate, key',
    'did you mean certificate?',
  ],
  ['quite_something_else: 1', '1:1', 'quite_something_else', 'one of listen'],
  ['__proto__: {listen: 1}', '1:1', '__proto__', 'one of listen'],
  ['constructor: 1', '1:1', 'constructor', 'one of listen'],
  ['a: 1\n<<: {b: 2}\n', '1:1', 'a', 'one of listen'],
  ['"\\e[31m": 1', '1:1', '\\x1b[31m', 'one of listen'],
  ['hello', '1:1', '"hello"', 'a group of keys'],
  ['- listen: {}', '1:1', 'a list', 'a group of keys'],
  ['listen: []', '1:9', 'a list', 'a group of keys'],
  ['listen:\nhost: {}', '1:8', 'nothing', 'a group of keys'],
  ['listen: {port: 65536}', '1:16', '65536', 'a whole number from 0 to 65535'],
  ['listen: {port: -1}', '1:16', '-1', 'a whole number from 0 to 65535'],
  ['listen: {port: 80.5}', '1:16', '80.5', 'a whole number from 0 to 65535'],
  ['listen: {port: "80"}', '1:16', '"80"', 'a whole number from 0 to 65535'],
  ['listen: {port: .inf}', '1:16', 'Infinity', 'a whole number from 0 to 65535'],
  ['listen: {address: pool.example}', '1:19', '"pool.example"', 'an IP address, or localhost'],
  ['listen: {address: 10.0.0}', '1:19', '"10.0.0"', 'an IP address, or localhost'],
  ['listen: {address: 10.5}', '1:19', '10.5', 'a text; numbers and such need quotes'],
  ['host: {address: "a b"}', '1:17', '"a b"', 'an IP address or a host name'],
  ['host: {name_label: " "}', '1:20', '" "', '1 to 256 characters'],
  ['host: {name_label: "a\\nb"}', '1:20', '"a\\x0ab"', 'all of them to be seen'],
  ['host: {name_label: "a\\u202eb"}', '1:20', '"a\\u{202e}b"', 'all of them to be seen'],
  ['storage_repositories: {}', '1:23', 'a group of keys', 'a list of storage repositories'],
  ['storage_repositories: []', '1:23', 'a list', 'at least one of storage repositories'],
  ['storage_repositories:\n  - path: /a\n', '2:5', 'no storage_repositories[0].name_label', 'name_label'],
  ['storage_repositories:\n  - name_label: a\n', '2:5', 'no storage_repositories[0].path', 'path'],
  ['storage_repositories: [{name_label: a, path: ""}]', '1:46', '""', 'the path of a file'],
  ['storage_repositories: [{name_label: a, path: "a\\0b"}]', '1:46', '"a\\x00b"', 'the path of a file'],
  ['storage_repositories: [{name_label: a, path: b, uuid: x}]', '1:55', '"x"', 'a UUID'],
  ['storage_repositories: [{name_label: a, path: b, default: yes}]', '1:58', '"yes"', 'true or false'],
  ['storage_repositories: [{name_label: a, path: b, quota: 10GB}]', '1:56', '"10GB"', 'a size such as 100G'],
  ['storage_repositories: [{name_label: a, path: b, quota: 0}]', '1:56', '0', 'a size above 0'],
  ['storage_repositories: [{name_label: a, path: b, quota: 1.5}]', '1:56', '1.5', 'a size such as 100G'],
  [
    'storage_repositories: [{name_label: a, path: b, capabilities: [VDI_CLON]}]',
    '1:64',
    '"VDI_CLON"',
    'one of VDI_CREATE, VDI_DELETE, VDI_CLONE',
  ],
  [
    'storage_repositories:\n- {name_label: a, path: x/../b}\n- {name_label: c, path: b}\n- {name_label: d, path: b}\n',
    '4:25',
    'storage_repositories[2].path',
    'another one',
  ],
  [
    `storage_repositories:\n- {name_label: a, path: a, uuid: ${UUID}}\n- {name_label: b, path: b, uuid: ${UUID.toLowerCase()}}\n`,
    '3:34',
    'storage_repositories[1].uuid',
    'another one',
  ],
  [
    'storage_repositories:\n- {name_label: a, path: a, default: true}\n- {name_label: b, path: b, default: true}\n',
    '3:37',
    'a second one',
    'one default: true',
  ],
  ['users: []', '1:8', 'a list', 'at least one of users'],
  ['users: [{name: a, role: admin, password_file: b}]', '1:25', '"admin"', 'one of read-only'],
  ['users: [{name: a:b, role: read-only, password_file: b}]', '1:16', '"a:b"', 'a name without a colon'],
  ['users: [{name: a, role: read-only}]', '1:9', 'none of them', 'password_hash or password_file'],
  [
    `users: [{name: a, role: read-only, password_file: b, password_hash: "${HASH}"}]`,
    '1:9',
    'both',
    'password_hash or password_file',
  ],
  [
    'users:\n- {name: a, role: read-only, password_file: b}\n- {name: a, role: pool-admin, password_file: c}\n',
    '3:10',
    'users[1].name',
    'another one',
  ],
  [
    'users:\n- name: a\n  role: read-only\n  password: hunter2\n',
    '4:3',
    'users[0].password',
    'one of name, role, password_hash, password_file',
    'no password stands in a configuration',
  ],
  ['users: [{name: a, role: read-only, password_hash: hunter2}]', '1:51', 'something else', 'a scrypt hash'],
  ['users: [{name: a, role: read-only, password_hash: 12345}]', '1:51', 'something else', 'a text'],
  ['tls: on', '1:6', '"on"', 'off, or certificate and key, or self_signed'],
  ['tls: false', '1:6', 'false', 'off, or certificate and key, or self_signed'],
  ['tls: {}', '1:6', 'nothing', 'certificate and key, or self_signed'],
  ['tls: {certificate: a}', '1:6', 'one of two files', 'certificate and key, or self_signed'],
  ['tls: {key: a}', '1:6', 'one of two files', 'certificate and key, or self_signed'],
  [
    'tls: {key: a, certificate: b, self_signed: {}}',
    '1:6',
    'all of them',
    'certificate and key, or self_signed',
  ],
  ['tls: {self_signed: {names: ["a b"]}}', '1:29', '"a b"', 'a host name or an IP address'],
  ['tls: {self_signed: {names: []}}', '1:28', 'a list', 'at least one of names'],
  [
    'tls: off\nlisten: {address: 0.0.0.0}',
    '1:6',
    'listen.address 0.0.0.0',
    'a loopback address',
    'leave tls out',
  ],
  ['listen: {address: "::"}\ntls: off', '2:6', 'listen.address ::', 'a loopback address'],
  ['listen: {address: 128.0.0.1}\ntls: off', '2:6', '128.0.0.1', 'a loopback address'],
  ['signature: {keyrings: vendor.gpg}', '1:23', '"vendor.gpg"', 'a list of keyrings'],
  ['signature: {signers: [DEADBEEF]}', '1:23', '"DEADBEEF"', 'a full fingerprint'],
  ['signature: {detached_signature: a}', '1:13', 'signature.detached_signature', 'one of keyrings'],
  ['limits: {idle_seconds: 0}', '1:24', '0', 'a whole number from 1 to 3600'],
  ['limits: {body_bytes: 64KB}', '1:22', '"64KB"', 'a size such as 100G'],
  ['limits: {body_bytes: 1G}', '1:22', '"1G"', 'a size from 4096 to 16777216 bytes'],
  [
    'limits: {requests_at_once: 5, requests_per_client: 6}',
    '1:52',
    '6 for each',
    'no more than requests_at_once',
  ],
  ['log: {level: loud}', '1:14', '"loud"', 'one of trace, debug'],
  ['listen: {port: 1}\nlisten: {port: 2}\n', '2:1', '"listen"', 'each key once'],
  ['log: {level: info, level: info}', '1:20', '"level"', 'each key once'],
  ['"log": {}\nlog: {}', '2:1', '"log"', 'each key once'],
  ['1: a', '1:1', 'another value', 'a name'],
  ['? [a]\n: b\n', '1:3', 'another value', 'a name'],
  ['listen: !!map {port: 1}', '1:15', '!!map', 'values without tags'],
  ['log: !mine {level: info}', '1:6', '', ''],
  ['%YAML 1.1\n---\ntls: off\n', '1:1', '%YAML 1.1', 'YAML 1.2'],
  ['log: {}\n---\nlog: {}\n', '2:1', '', ''],
  ['log: [', '1:7', '', ''],
  ['log:\n\tlevel: info\n', '2:1', '', ''],
  ['log: *nobody', '1:6', '', ''],
  [
    'listen: {}\nlog: {level: loud, colour: 1}',
    '2:14',
    '"loud"',
    'one of trace',
    '1 more of it is not right',
  ],
];

test.for(REFUSED)('refused: %j at %s', ([text, place, found, expected, hint]) => {
  const error = refusal(text);
  expect(error.kind).toBe('usage');
  expect(error.context.path).toBe(`pool.yaml:${place}`);
  expect(error.context.found).toContain(found);
  expect(error.context.expected ?? '').toContain(expected);
  if (hint !== undefined) expect(error.hint).toContain(hint);
  expect(JSON.stringify([error.message, error.context, error.hint])).not.toMatch(/hunter2|12345|\\u001b/);
});

test('a password does not get into an error of the parser', () => {
  for (const line of [
    'password: "hunter2',
    "password: 'hunter2",
    'password: @hunter2',
    'password: "hunter2\\q"',
  ]) {
    const { message, context, hint } = refusal(`users:\n- name: a\n  ${line}\n`);
    expect(JSON.stringify([message, context, hint])).not.toContain('hunter2');
  }
});

const LIMIT = 1024 * 1024;

test('1 MiB is read, a byte more is not', () => {
  expect(parseServeConfig(`#${'x'.repeat(LIMIT - 1)}`, FILE)).toEqual(BY_DEFAULT);
  expect(refusal(`#${'x'.repeat(LIMIT)}`).context.found).toBe('1.0 MiB (1048577 bytes)');
  expect(refusal(`#${'ö'.repeat(LIMIT / 2)}`).message).toBe('the configuration is too large');
});

const many = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('');

/** Each of these keeps the bare parser busy for seconds, or ends the process. */
test.for([
  ['brackets', '['.repeat(LIMIT)],
  ['braces', '{a: '.repeat(LIMIT / 4)],
  ['brackets within brackets that end', '['.repeat(33) + ']'.repeat(33)],
  ['dashes on one line', '- '.repeat(24_000)],
  ['question marks', '? '.repeat(24_000)],
  ['keys', many(60_000, (index) => `k${index}: v\n`)],
  ['keys in braces', `{${many(60_000, (index) => `k${index}: v,`)}}`],
  ['items', '- a\n'.repeat(LIMIT / 4)],
  ['indentation', many(1400, (index) => `${' '.repeat(index)}a:\n`)],
  ['anchors', many(40_000, (index) => `- &a${index} x\n`)],
  ['commas', `[${','.repeat(LIMIT - 2)}]`],
] as const)('what would cost too much is refused before it is parsed: %s', ([, text]) => {
  expect(refusal(text).message).toBe('the configuration is too complex');
});

test.for([
  [
    'aliases of aliases',
    `a: &a [${'x,'.repeat(9)}]\n${many(9, (i) => `b${i}: &b${i} [${`*${i === 0 ? 'a' : `b${i - 1}`},`.repeat(9)}]\n`)}`,
  ],
  ['many aliases', `a: &a x\nb:\n${'- *a\n'.repeat(65)}`],
  ['an alias of what it is in', 'storage_repositories: &a [*a]'],
  ['an alias of the whole', '&a {listen: *a}'],
  ['spaces', ' '.repeat(LIMIT)],
  ['line ends and tabs', '\n\t'.repeat(LIMIT / 2)],
  ['a long key', `${'x'.repeat(LIMIT - 3)}: 1`],
  ['a long value', `a: ${'x'.repeat(LIMIT - 3)}`],
  ['a long quotation', `a: "${'\\n'.repeat(LIMIT / 2 - 4)}"`],
  ['a thousand keys', many(1000, (index) => `k${index}: v\n`)],
  ['NUL', 'a\0b: c'],
  ['documents', '---\n'.repeat(10_000)],
  ['directives', '%YAML 1.2\n'.repeat(10_000)],
  ['lone surrogates', 'a: \ud800'],
] as const)('what is hostile is refused in its place, or is nothing: %s', ([, text]) => {
  try {
    expect(parseServeConfig(text, FILE)).toEqual(BY_DEFAULT);
  } catch (error) {
    expect(isPatchVdiError(error) && error.kind, String(error)).toBe('usage');
    expect(JSON.stringify((error as PatchVdiError).context).length).toBeLessThan(1000);
  }
});

test('whatever is changed in a configuration, it is read or refused in a place', () => {
  const snippets = [
    '[',
    ']',
    '{',
    '}',
    ': ',
    '- ',
    '\n',
    '\n  ',
    '&a ',
    '*a',
    '"',
    "'",
    '!!str ',
    '|\n',
    '\t',
    '# ',
    '0',
    '~',
  ];
  const edit = fc.record({
    at: fc.nat(WHOLE.length),
    remove: fc.nat(12),
    insert: fc.oneof(fc.constantFrom(...snippets), fc.string({ maxLength: 6, unit: 'binary' })),
  });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let text = WHOLE;
      for (const { at, remove, insert } of edits)
        text = `${text.slice(0, at)}${insert}${text.slice(at + remove)}`;
      try {
        parseServeConfig(text, FILE);
      } catch (error) {
        if (!isPatchVdiError(error)) throw error;
        expect(error.kind).toBe('usage');
        const [, line, column] = /^pool\.yaml:(\d+):(\d+)$/.exec(error.context.path ?? '') ?? [];
        expect(Number(line)).toBeLessThanOrEqual(text.split('\n').length);
        expect(Number(column)).toBeGreaterThan(0);
      }
    }),
    { numRuns: 500, seed: 6 },
  );
});

test('the table of limits agrees with itself', () => {
  for (const { key, byDefault, least, most } of LIMITS) {
    expect(key).toMatch(/_(?:once|client|seconds|bytes)$/);
    expect(byDefault).toBeGreaterThanOrEqual(least);
    expect(byDefault).toBeLessThanOrEqual(most);
    const at = (value: number): unknown => parseServeConfig(`limits: {${key}: ${value}}`, FILE);
    if (key !== 'requests_at_once') at(least);
    if (key !== 'requests_per_client') at(most);
    expect(() => at(least - 1)).toThrow(`limits.${key} is not right`);
    expect(() => at(most + 1)).toThrow(`limits.${key} is not right`);
  }
});

test('a file is read from its own folder, unless everybody may change it', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'pool.yaml');
  writeFileSync(path, 'signature: {keyrings: [a.gpg]}\n');
  chmodSync(path, 0o644);
  expect((await readServeConfig(path)).signature.keyrings).toEqual([join(folder, 'a.gpg')]);
  chmodSync(path, 0o666);
  await expect(readServeConfig(path)).rejects.toMatchObject({ kind: 'usage', hint: `chmod o-w ${path}` });
  await expect(readServeConfig(join(folder, 'none'))).rejects.toMatchObject({ kind: 'usage' });
  await expect(readServeConfig(folder)).rejects.toMatchObject({ kind: 'usage' });
});
