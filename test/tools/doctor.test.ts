import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { examineTools } from '../../src/tools/doctor.js';
import { compareVersions, DEFAULT_SEARCH_PATH, knownTools } from '../../src/tools/find.js';
import { packageFile } from '../../src/tools/package-files.js';
import { makeProgram, makeProgramOfVersion } from '../native-tools/fake-programs.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';

const environmentOf = (...searchPath: string[]) => ({ searchPath, temporaryFolder: '/tmp' });
const realEnvironment = environmentOf(...DEFAULT_SEARCH_PATH);

/** The report on mke2fs when the only folder searched is `folder`. */
async function examineMke2fs(folder: string, timeLimitMilliseconds = 20_000) {
  const reports = await examineTools(environmentOf(folder), { timeLimitMilliseconds });
  return reports.find((report) => report.program === 'mke2fs');
}

describe('the programs of this machine', () => {
  test('all that a build needs are ok, in the order of the list', async () => {
    const reports = await examineTools(realEnvironment);
    expect(reports.map((report) => report.program)).toEqual(['mke2fs', 'debugfs', 'e2fsck', 'gpgv']);
    for (const report of reports) {
      expect(report).toMatchObject({ verdict: 'ok', minimumVersion: expect.any(String) });
      expect(compareVersions(report.version ?? '0', report.minimumVersion ?? '999')).toBeGreaterThanOrEqual(
        0,
      );
      expect(report).not.toHaveProperty('howToGet');
    }
  });

  test('and all that the tests need, when asked', async () => {
    const reports = await examineTools(realEnvironment, { includeTestTools: true });
    expect(reports.map((report) => report.program)).toEqual(knownTools().map((tool) => tool.program));
    expect(reports.filter((report) => report.verdict !== 'ok')).toEqual([]);
  });
});

describe('one program that is not as it should be', () => {
  test('missing', async () => {
    const folder = temporaryFolder();
    expect(await examineMke2fs(folder)).toEqual({
      program: 'mke2fs',
      purpose: 'formats the template',
      minimumVersion: '1.45',
      verdict: 'missing',
      howToGet: `install mke2fs 1.45 or later (no apt-get, dnf, apk or brew in ${folder})`,
    });
  });

  test('too old', async () => {
    const folder = temporaryFolder();
    const path = makeProgram(folder, 'mke2fs', 'echo "mke2fs 1.42.9 (28-Dec-2013)" >&2');
    expect(await examineMke2fs(folder)).toMatchObject({ path, version: '1.42.9', verdict: 'too old' });
  });

  test('hanging', async () => {
    const folder = temporaryFolder();
    makeProgram(folder, 'mke2fs', 'echo "waiting for the moon" >&2; exec /bin/sleep 30');
    const report = await examineMke2fs(folder, 2000);
    expect(report).toMatchObject({
      verdict: 'unknown version',
      words: 'mke2fs did not end in time: waiting for the moon',
    });
  });

  test('hanging and not to be ended, because its own child holds the output', async () => {
    const folder = temporaryFolder();
    makeProgram(folder, 'mke2fs', `/bin/sleep 300 & echo $! >'${folder}/child'; wait`);
    const report = await examineMke2fs(folder, 2000);
    // It still sleeps: nobody waited for it.
    expect(process.kill(Number(readFileSync(join(folder, 'child'), 'utf8')), 'SIGKILL')).toBe(true);
    expect(report).toMatchObject({ verdict: 'unknown version', words: 'mke2fs did not end in time' });
  });

  test.each([
    ['garbage', String.raw`printf 'beep\a\033[31m red \n\n \377 words'`, 'beep [31m red \uFFFD words'],
    ['silence', 'exit 0', 'no message'],
    ['a broken library', 'echo "mke2fs: libext2fs.so.2: cannot open" >&2; exit 127', /libext2fs\.so\.2/],
    ['a signal', 'echo dying >&2; kill -9 $$', 'dying'],
    ['a long story', 'i=0; while [ $i -lt 99 ]; do echo "no version"; i=$((i + 1)); done', /^.{200}$/],
  ])('%s', async (_name, script, words) => {
    const folder = temporaryFolder();
    makeProgram(folder, 'mke2fs', script);
    const report = await examineMke2fs(folder);
    expect(report).toMatchObject({ verdict: 'unknown version', howToGet: expect.any(String) });
    expect(report).not.toHaveProperty('version');
    expect(report?.words).toMatch(words);
  });

  test('not a program at all', async () => {
    const folder = temporaryFolder();
    makeProgram(folder, 'mke2fs', '');
    makeProgram(folder, 'debugfs', 'x', 0o644);
    makeProgramOfVersion(folder, 'e2fsck', '1.47.0');
    const reports = await examineTools(environmentOf(folder));
    expect(reports.map((report) => report.verdict)).toEqual(['unknown version', 'missing', 'ok', 'missing']);
  });

  test('a program without a minimum need not say its version', async () => {
    const folder = temporaryFolder();
    makeProgram(folder, 'mount', 'echo "mount: unrecognized option: version" >&2; exit 1');
    const reports = await examineTools(environmentOf(folder), { includeTestTools: true });
    const mount = reports.find((report) => report.program === 'mount');
    expect(mount).toMatchObject({ verdict: 'ok' });
    expect(mount).not.toHaveProperty('version');
  });
});

describe('how to get it', () => {
  const script = packageFile('native-tools/install.sh');
  test.each([
    ['apt-get', 'debugfs', `apt-get install e2fsprogs, or everything that is missing: sh ${script}`],
    ['dnf', 'gpgv', `dnf install gnupg2, or everything that is missing: sh ${script}`],
    ['apk', 'debugfs', `apk add e2fsprogs-extra, or everything that is missing: sh ${script}`],
    ['brew', 'gpg', `brew install gnupg, or everything that is missing: sh ${script} --dev`],
    ['brew', 'mount', 'install mount (brew has no package of it)'],
  ])('with %s: %s', async (manager, program, howToGet) => {
    const folder = temporaryFolder();
    makeProgram(folder, manager, 'exit 1');
    const reports = await examineTools(environmentOf(folder), { includeTestTools: true });
    expect(reports.find((report) => report.program === program)).toMatchObject({ howToGet });
  });
});
