import { statSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { runJudge } from '../oracles/run-judge.js';
import { requireTool } from '../oracles/require-tool.js';
import { ZipPatcher, makeZip } from '../io/zips.js';
import { mustBuild, runCli } from './cli.js';
import { expectNoOutput, expectUselessOutput } from './judges/nothing-usable.js';
import { expectPatchDisk, requireImageJudges } from './judges/patch-disk.js';
import { makeSigningBench, type SigningBench } from './signed-uploads.js';
import { MIB, uploadBytes } from './uploads.js';
import { FORMATS } from './ways-to-build.js';
import { workspace } from './workspace.js';

let bench: SigningBench;
let hotfix: Buffer;
beforeAll(() => {
  bench = makeSigningBench();
  hotfix = makeZip({ 'XS62E001.xsupdate': bench.plain, 'XS62E001-src.iso': uploadBytes(50_000) });
});
afterAll(() => bench.close());
beforeEach((context) => {
  requireTool(context, 'zip', 'unzip');
  requireImageJudges(context);
});

const SIZE = 16 * MIB;

test.for(FORMATS)('a hotfix as it is downloaded, into a %s', async (format) => {
  const work = workspace();
  const zip = work.input('XS62E001.zip', hotfix);
  const image = work.output(`x.${format}`);
  const { stdout } = await mustBuild(work, [zip, '-o', image, '--keyring', bench.keyring]);
  expect(stdout).toContain('Alice <alice@example.org>');
  const unzipped = work.input('unzipped', '');
  runJudge('sh', ['-c', `unzip -p '${zip}' '*.xsupdate' > '${unzipped}'`]);
  expect(statSync(unzipped).size).toBe(bench.plain.length);
  await expectPatchDisk(image, format, unzipped, SIZE);
});

test('through redirections, as a stream', async () => {
  const work = workspace();
  const image = work.output('x.vhd');
  await mustBuild(work, ['-', '--format', 'vhd', '--keyring', bench.keyring], {
    stdin: { path: work.input('hotfix.zip', hotfix), through: 'redirection' },
    stdout: { path: image, through: 'pipe' },
  });
  await expectPatchDisk(image, 'vhd', work.input('upload', bench.plain), SIZE);
});

test('the digest is that of the member', async () => {
  const work = workspace();
  const zip = work.input('hotfix.zip', hotfix);
  const { stdout } = await mustBuild(work, [
    zip,
    '-o',
    work.output('x.raw'),
    '--keyring',
    bench.keyring,
    '--json',
    '--digest',
  ]);
  const digest = runJudge('sha256sum', [work.input('upload', bench.plain)]).stdout.split(' ')[0];
  expect(JSON.parse(stdout)).toMatchObject({ sha256: digest, payloadLength: bench.plain.length });
});

test('plan knows the length of the member', async () => {
  const work = workspace();
  const { exitCode, stdout } = await runCli(work, [
    'plan',
    work.input('hotfix.zip', hotfix),
    '--format',
    'vhd',
    '--json',
  ]);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ payloadLength: bench.plain.length });
});

test('an archive that is itself signed is the upload with --no-unzip', async () => {
  const work = workspace();
  const zip = work.input('driver.zip', hotfix);
  const signature = bench.gpg.file(bench.gpg.detach(hotfix, [bench.alice]));
  const signed = ['--signature', signature, '--keyring', bench.keyring];
  const image = work.output('x.vhd');
  await mustBuild(work, [zip, '-o', image, '--no-unzip', ...signed]);
  await expectPatchDisk(image, 'vhd', zip, SIZE);
  const { exitCode } = await runCli(work, ['build', zip, '-o', work.output('y.vhd'), ...signed]);
  expect(exitCode).toBe(3);
});

test('several uploads: --member', async () => {
  const work = workspace();
  const zip = work.input('two.zip', makeZip({ 'a.xsupdate': bench.plain, 'b.xsupdate': 'not signed' }));
  const args = ['build', zip, '-o', work.output('x.raw'), '--keyring', bench.keyring];
  const { exitCode, stderr } = await runCli(work, args);
  expect(exitCode).toBe(4);
  expect(stderr).toMatch(/a\.xsupdate, b\.xsupdate/);
  expectNoOutput(work);
  const bad = await runCli(work, [...args, '--member', 'b.xsupdate']);
  expect(bad.exitCode).toBe(3);
  expect((await runCli(work, [...args, '--member', 'a.xsupdate'])).exitCode).toBe(0);
  const both = await runCli(work, [...args, '--member', 'a.xsupdate', '--no-unzip']);
  expect(both.exitCode).toBe(2);
});

/** The archive with another checksum in both headers; what it unpacks to is rightly signed. */
function wrongChecksum(): Buffer {
  const zip = new ZipPatcher(hotfix);
  const name = 'XS62E001.xsupdate';
  return zip.flip(zip.central(name) + 16).flip(zip.local(name) + 14).bytes;
}

test.for(FORMATS)('a wrong checksum, though the signature is good, seals no %s', async (format) => {
  const work = workspace();
  const zip = work.input('hotfix.zip', wrongChecksum());
  const args = ['build', zip, '--keyring', bench.keyring];
  const file = await runCli(work, [...args, '-o', work.output(`x.${format}`)]);
  expect(file.exitCode).toBe(4);
  expect(file.stderr).toContain('CRC-32');
  expectNoOutput(work);
  const image = work.output('stream');
  const stream = await runCli(work, [...args, '--format', format], {
    stdout: { path: image, through: 'redirection' },
  });
  expect(stream.exitCode).toBe(4);
  await expectUselessOutput(image, format);
});

test('a bad signature within an archive', async () => {
  const work = workspace();
  const zip = work.input('x.zip', makeZip({ 'a.xsupdate': bench.gpg.sign('x', [bench.stranger]) }));
  const { exitCode } = await runCli(work, [
    'build',
    zip,
    '-o',
    work.output('x.vhd'),
    '--keyring',
    bench.keyring,
  ]);
  expect(exitCode).toBe(3);
  expectNoOutput(work);
});

test('through a pipe an archive has to be saved first', async () => {
  const work = workspace();
  const stdin = { path: work.input('hotfix.zip', hotfix), through: 'pipe' } as const;
  const args = ['build', '-', '-o', work.output('x.vhd'), '--keyring', bench.keyring];
  const { exitCode, stderr } = await runCli(work, args, { stdin });
  expect(exitCode).toBe(4);
  expect(stderr).toContain('a ZIP archive cannot be unpacked while it comes in');
  expect(stderr).toContain('save it');
  expectNoOutput(work);
  const member = await runCli(work, [...args, '--member', 'x'], { stdin });
  expect(member.exitCode).toBe(2);
  const image = work.output('y.vhd');
  await mustBuild(work, ['-', '-o', image, '--no-unzip', '--allow-unsigned'], { stdin });
  await expectPatchDisk(image, 'vhd', stdin.path, 4096 * MIB);
});

test('an upload of many blocks', async () => {
  const work = workspace();
  const upload = work.input('big.xsupdate', Buffer.concat([uploadBytes(30 * MIB), Buffer.alloc(30 * MIB)]));
  const zip = `${work.folder}/big.zip`;
  expect(runJudge('zip', ['-q', '-j', zip, upload]).exitCode).toBe(0);
  const image = work.output('x.vhd');
  await mustBuild(work, [zip, '-o', image, '--allow-unsigned']);
  await expectPatchDisk(image, 'vhd', upload, 240 * MIB);
});
