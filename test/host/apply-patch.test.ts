import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { precheckDocument, PRECHECKS } from '../../src/kit/documents.js';
import { sweepHost } from '../../src/host/apply-patch.js';
import { openImage } from '../../src/inspect/open-image.js';
import {
  expectNothingLeft,
  hostBench,
  INFO,
  remainsOf,
  requireHost,
  signed,
  UUID,
  patchText,
} from './host-bench.js';

beforeEach((context) => requireHost(context));

const MARKER = `.patch-vdi-began-${UUID}`;

test.for(['raw', 'vhd', 'vhd-fixed'] as const)(
  'a good patch in a %s image is applied: its output comes back, what it says of itself is kept, nothing is left',
  async (format) => {
    const bench = await hostBench({ apply: 'echo out; echo err >&2; echo end' }, { format });
    const before = readFileSync(bench.image);
    expect(await bench.apply()).toMatchObject({
      kind: 'applied',
      info: { uuid: UUID, afterApplyGuidance: ['restartXAPI'] },
      output: 'out\nerr\nend\n',
      signatures: [{ weakDigest: false }],
    });
    expect(readFileSync(join(bench.applied, UUID), 'utf8')).toBe(`${INFO}\n`);
    expect(readdirSync(bench.applied)).toEqual([UUID]);
    expect(readFileSync(bench.image).equals(before)).toBe(true);
    expectNothingLeft(bench);
  },
);

test.for(['ext2', 'ext3', 'ext4'] as const)('also from %s', async (filesystem) => {
  const bench = await hostBench({}, { filesystem });
  expect(await bench.apply()).toMatchObject({ kind: 'applied' });
  expectNothingLeft(bench);
});

test('an opened image is copied, too, and stays open; a raw copy of the caller is used as it is and stays', async () => {
  const bench = await hostBench({});
  const image = await openImage(bench.image);
  try {
    expect(await bench.apply({ image })).toMatchObject({ kind: 'applied' });
    expect((await image.read(0, 4096)).length).toBe(4096);
  } finally {
    await image.close();
  }
  const marker = statSync(bench.image).ino;
  expect(await bench.apply({ image: { rawCopy: bench.image }, again: true })).toMatchObject({
    kind: 'applied',
  });
  expect(statSync(bench.image).ino).toBe(marker);
  expectNothingLeft(bench);
});

test('what an apply sees: itself alone in its folder, a clean environment, root, the host, a mount that nobody else sees', async () => {
  process.env['PATCH_VDI_SECRET'] = 'secret';
  const seen = join((await hostBench({})).folder, 'seen');
  const apply = `
echo "arguments $*"; echo "user $(id -u)"; echo "name $0"; pwd; ls -A; env | cut -d= -f1 | sort | tr '\\n' ' '; echo
[ -e /proc/$$/stat ] && echo 'its own number is that of the host'
grep " $(dirname "$(pwd)") " /proc/self/mountinfo
echo from-apply >'${seen}'
touch "$(dirname "$(pwd)")/in-the-mount" && echo writable
`;
  const bench = await hostBench({ apply });
  const outcome = await bench.apply();
  delete process.env['PATCH_VDI_SECRET'];
  if (outcome.kind !== 'applied') throw new Error(JSON.stringify(outcome));
  const [args, user, name, pwd = '', files, names, number, mount = '', writable] = outcome.output.split('\n');
  expect({ args, user, files, number, writable }).toEqual({
    args: 'arguments apply',
    user: 'user 0',
    files: 'patch',
    number: 'its own number is that of the host',
    writable: 'writable',
  });
  expect(name).toBe(`name ${pwd}/patch`);
  expect(pwd.startsWith(`${bench.scratch}/patch-vdi-apply-${process.pid}.`)).toBe(true);
  expect(
    names
      ?.trim()
      .split(' ')
      .filter((word) => word !== '_'),
  ).toEqual(['HOME', 'LC_ALL', 'PATH', 'PWD', 'SHELL', 'TMPDIR', 'TZ']);
  const [, , , , , options = '', ...rest] = mount.split(' ');
  expect(options.split(',')).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev']));
  expect(rest.join(' ')).toMatch(/- ext4 \/dev\/loop\d+ /);
  // The host's own files are the host's.
  expect(readFileSync(seen, 'utf8')).toBe('from-apply\n');
  expectNothingLeft(bench);
});

test('while it runs, the host does not see the mount', async () => {
  const bench = await hostBench({ apply: 'sleep 2' });
  let checked = 0;
  const timer = setInterval(() => {
    if (!existsSync(join(bench.scratch, readdirSync(bench.scratch)[0] ?? 'x', 'open'))) return;
    checked += 1;
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(bench.scratch);
  }, 100);
  expect(await bench.apply()).toMatchObject({ kind: 'applied' });
  clearInterval(timer);
  expect(checked).toBeGreaterThan(3);
});

test('info is asked as nobody, beside itself alone', async () => {
  const info = `[ "$(id -u):$(id -g):$(id -G)" = 65534:65534:65534 ] || exit 10
[ "$(ls -A)" = patch ] || exit 11
(echo x >>patch) 2>/dev/null && exit 12
(echo x >new) 2>/dev/null && exit 13
echo '${INFO}'`;
  const bench = await hostBench({ info });
  expect(await bench.precheck()).toMatchObject({ kind: 'precheckPassed' });
  expectNothingLeft(bench);
});

test('precheck alone runs no apply and keeps nothing', async () => {
  const bench = await hostBench({ precheck: 'echo all is well', apply: 'echo >"$TMPDIR/../../../ran"' });
  expect(await bench.precheck()).toMatchObject({ kind: 'precheckPassed', output: 'all is well\n' });
  expect(existsSync(bench.applied)).toBe(false);
  expectNothingLeft(bench);
});

const FAILURES: Readonly<Record<string, object>> = {
  'unknown-error': { code: 'UNKNOWN_ERROR', info: 'This test patch was told to fail its precheck.' },
  'iso-mounted': { code: 'ISO_MOUNTED', info: 'This test patch was told to find an ISO mounted.' },
  'prerequisite-missing': { code: 'PREREQUISITE_MISSING', uuids: [UUID] },
  'wrong-server-version': { code: 'WRONG_SERVER_VERSION', found: '1.0.0', required: '99.0.0' },
  'wrong-server-build': { code: 'WRONG_SERVER_BUILD', found: '1', required: '99999' },
  'vm-running': { code: 'VM_RUNNING' },
  'out-of-space': { code: 'OUT_OF_SPACE', found: '0', required: '4096' },
};

test.for(PRECHECKS.filter((kind) => kind !== 'ok'))(
  'a precheck that says %s: no apply, and why',
  async (kind) => {
    const ran = join((await hostBench({})).folder, 'ran');
    const document = precheckDocument(kind, UUID, 4096);
    const bench = await hostBench({ precheck: `echo '${document}'; exit 1`, apply: `touch '${ran}'` });
    expect(await bench.apply()).toMatchObject({
      kind: 'precheckFailed',
      failure: FAILURES[kind],
      info: { uuid: UUID },
    });
    expect([existsSync(ran), readdirSync(bench.applied)]).toEqual([false, []]);
    expectNothingLeft(bench);
  },
);

test.for([
  ['exits with another code', `echo '${precheckDocument('vm-running', UUID, 0)}'; exit 3`, /exit code 3/],
  ['exits 1 without a document', 'echo words; echo more >&2; exit 1', /exit code 1\nmore\nwords/],
  ['is killed', 'kill -9 $$', /SIGKILL/],
  ['does not end', 'sleep 100', /no end in time/],
] as const)('a precheck that %s is an unknown error with its words', async ([, precheck, info]) => {
  const bench = await hostBench({ precheck });
  const outcome = await bench.apply({ limits: { precheckMilliseconds: 5000, graceMilliseconds: 200 } });
  expect(outcome).toMatchObject({
    kind: 'precheckFailed',
    failure: { code: 'UNKNOWN_ERROR', info: expect.stringMatching(info) },
  });
  expectNothingLeft(bench);
});

test.for([
  ['exits 7', 'echo why; exit 7', { kind: 'exit', exitCode: 7 }, 'applyFailed'],
  ['is killed', 'echo why; kill -9 $$', { kind: 'signal', signal: 'SIGKILL' }, 'halfApplied'],
  ['does not end', 'echo why; sleep 100', { kind: 'timeout' }, 'halfApplied'],
] as const)(
  'an apply that %s has failed, with its output, and is not kept',
  async ([, apply, ending, next]) => {
    const bench = await hostBench({ apply });
    const outcome = await bench.apply({ limits: { applyMilliseconds: 5000, graceMilliseconds: 200 } });
    expect(outcome).toMatchObject({ kind: 'applyFailed', ending, output: expect.stringMatching(/^why\n/) });
    expect(readdirSync(bench.applied)).toEqual(next === 'halfApplied' ? [MARKER] : []);
    // In the same process, which lives on.
    const limits = { applyMilliseconds: 5000, graceMilliseconds: 200 };
    expect(await bench.apply({ limits })).toMatchObject({ kind: next });
    expect(await bench.apply({ limits, again: true })).toMatchObject({ kind: 'applyFailed', ending });
    expectNothingLeft(bench);
  },
);

test('after the time limit it gets SIGTERM, and may end in order', async () => {
  const bench = await hostBench({ apply: `trap 'echo in order; exit 0' TERM; echo on; sleep 100 & wait` });
  const outcome = await bench.apply({ limits: { applyMilliseconds: 5000 } });
  expect(outcome).toMatchObject({ kind: 'applied', output: 'on\nin order\n' });
  expectNothingLeft(bench);
});

test('applied already: refused, unless once more is wanted', async () => {
  const bench = await hostBench({ apply: 'echo once more' });
  await bench.apply();
  expect(await bench.apply()).toMatchObject({ kind: 'alreadyApplied', info: { uuid: UUID } });
  expect(await bench.apply({ again: true })).toMatchObject({ kind: 'applied', output: 'once more\n' });
  expectNothingLeft(bench);
});

test('two at a time: one is applied, the other is told so', async () => {
  const go = join((await hostBench({})).folder, 'go');
  const bench = await hostBench({ apply: `while [ ! -e '${go}' ]; do sleep 0.05; done` });
  const both = [bench.apply(), bench.apply()];
  expect(await Promise.race(both)).toMatchObject({ kind: 'beingApplied' });
  writeFileSync(go, '');
  const kinds = (await Promise.all(both)).map(({ kind }) => kind);
  expect(kinds.sort()).toEqual(['applied', 'beingApplied']);
  expectNothingLeft(bench);
});

test('an abort in the middle of an apply ends it, and says that it may have run in part', async () => {
  const bench = await hostBench({ apply: `trap '' TERM; sleep 100 & wait; sleep 100` });
  const stop = new AbortController();
  const running = bench.apply({
    signal: stop.signal,
    limits: { graceMilliseconds: 200 },
    onProgress: ({ phase }) => {
      if (phase === 'apply') setTimeout(() => stop.abort(new Error('enough')), 300);
    },
  });
  await expect(running).rejects.toMatchObject({
    kind: 'interrupted',
    leftBehind: expect.stringMatching(/in part; .*--again/),
  });
  expect(readdirSync(bench.applied)).toEqual([MARKER]);
  expect(await bench.apply()).toMatchObject({ kind: 'halfApplied', beganAt: expect.stringMatching(/^20/) });
  const { unfinished } = await sweepHost({ scratchFolder: bench.scratch, appliedFolder: bench.applied });
  expect(unfinished).toMatchObject([{ uuid: UUID }]);
  expectNothingLeft(bench);
});

test.for([
  ['says nothing', ''],
  ['says something else', 'echo hello'],
  ['fails', 'echo out; echo err >&2; exit 2'],
  ['prints without end', 'yes'],
  ['does not end', 'sleep 100'],
] as const)('a patch whose info %s is not applied', async ([, info]) => {
  const bench = await hostBench({ info });
  await expect(
    bench.apply({ limits: { infoMilliseconds: 5000, graceMilliseconds: 200 } }),
  ).rejects.toMatchObject({
    kind: 'upload',
  });
  expectNothingLeft(bench);
});

test('no room: refused before anything', async () => {
  const bench = await hostBench({});
  const { withSmallDisk } = await import('../oracles/kernel-mount.js');
  await withSmallDisk(8 * 1024 * 1024, async (small) => {
    await expect(bench.apply({ scratchFolder: small })).rejects.toMatchObject({ kind: 'space' });
    expect(readdirSync(small)).toEqual([]);
  });
  expectNothingLeft(bench);
});

test('the sweep leaves what living processes have, and what is not ours', async () => {
  const bench = await hostBench({ apply: 'sleep 1' });
  writeFileSync(join(bench.scratch, 'patch-vdi-apply-1.1'), 'a file of somebody else');
  const running = bench.apply();
  await expect.poll(() => remainsOf(bench.folder).length).toBeGreaterThan(0);
  expect(await sweepHost({ scratchFolder: bench.scratch, appliedFolder: bench.applied })).toMatchObject({
    removed: [],
  });
  expect(await running).toMatchObject({ kind: 'applied' });
  expect(readdirSync(bench.scratch)).toEqual(['patch-vdi-apply-1.1']);
  const nowhere = { scratchFolder: join(bench.folder, 'no'), appliedFolder: join(bench.folder, 'no') };
  expect(await sweepHost(nowhere)).toEqual({ removed: [], unfinished: [] });
});

test('a message by a key that is not in the keyring, by another signer, or unsigned, never runs', async () => {
  const ran = join((await hostBench({})).folder, 'ran');
  const text = patchText({ info: `touch '${ran}'`, apply: `touch '${ran}'` });
  const { STRANGER } = await import('./host-bench.js');
  const uploads = [await signed(text, STRANGER), Buffer.from(text)];
  for (const upload of uploads) {
    const bench = await hostBench(upload);
    await expect(bench.apply()).rejects.toMatchObject({ kind: 'signature' });
    expectNothingLeft(bench);
  }
  const bench = await hostBench({ info: `touch '${ran}'` });
  const policy = { keyrings: [bench.keyring], signers: ['0'.repeat(40)] };
  await expect(bench.apply({ policy })).rejects.toMatchObject({ kind: 'signature' });
  expect(existsSync(ran)).toBe(false);
  expectNothingLeft(bench);
});
