import { readdirSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { mustBuild, processesUsing } from '../e2e/cli.js';
import { feed, pieces, startFed } from '../e2e/feeding.js';
import { USELESS, usesOf } from '../e2e/judges/importer.js';
import { requireImageJudges } from '../e2e/judges/patch-disk.js';
import { MIB, uploadBytes } from '../e2e/uploads.js';
import { FORMATS } from '../e2e/ways-to-build.js';
import { makeWorkspace, workspace } from '../e2e/workspace.js';
import { dumpFile } from '../oracles/debugfs.js';
import { clean } from '../oracles/e2fsck.js';
import { difference } from '../e2e/judges/same-bytes.js';

test.for(FORMATS)(
  'kill -9 leaves a recognisable file beside the name, of no use, and not in the way (%s)',
  async (format, context) => {
    requireImageJudges(context);
    // Not the workspace() of other tests: here something is left in TMPDIR.
    const work = makeWorkspace();
    onTestFinished(() => work.remove());
    const image = work.output(`x.${format}`);
    const fed = startFed(work, [
      'build',
      '-',
      '-o',
      image,
      '--allow-unsigned',
      '--content-length',
      String(8 * MIB),
    ]);
    await fed.send(uploadBytes(7 * MIB));
    await expect.poll(() => work.outputs().length).toBe(1);
    // All programs are done; what is still awaited is the rest of the upload.
    await expect.poll(() => processesUsing(work.tmp)).toEqual([]);
    fed.child.kill('SIGKILL');
    expect(await fed.ended).toMatchObject({ exitCode: null, signal: 'SIGKILL' });

    const [left = '', ...others] = work.outputs();
    expect(others).toEqual([]);
    expect(left).toMatch(
      new RegExp(`^\\.x\\.${format}\\.patch-vdi-[0-9a-f]+-${fed.child.pid}-[0-9a-f]{8}\\.tmp$`),
    );
    expect(await usesOf(work.output(left), format)).toMatchObject(USELESS);
    for (const name of readdirSync(work.tmp)) expect(name).toMatch(/^patch-vdi-/);

    const again = workspace();
    const upload = again.input('upload', uploadBytes(MIB));
    await mustBuild(again, [upload, '-o', image, '--allow-unsigned']);
    // It took away what the dead one had left.
    expect(work.outputs()).toEqual([`x.${format}`]);
  },
);

test.for([
  ['one wins', []],
  ['with --force the last one wins', ['--force']],
] as const)('of two builds of one name at the same time %s', async ([, force], context) => {
  requireImageJudges(context);
  const [one, two] = [workspace(), workspace()];
  const image = one.output('x.raw');
  const uploads = [uploadBytes(3 * MIB, 1), uploadBytes(3 * MIB, 2)];
  const args = ['build', '-', '-o', image, '--allow-unsigned', '--content-length', String(3 * MIB), ...force];
  const runs = [startFed(one, args), startFed(two, args)];
  // Both are at work before either may finish.
  for (const [index, run] of runs.entries())
    await run.send(uploads[index]?.subarray(0, MIB) ?? Buffer.alloc(0));
  await expect.poll(() => one.outputs().length).toBe(2);
  const ended = await Promise.all(
    runs.map((run, index) => feed(run, pieces(uploads[index]?.subarray(MIB) ?? Buffer.alloc(0), [MIB]))),
  );

  const codes = ended.map(({ exitCode }) => String(exitCode)).sort();
  expect(codes).toEqual(force.length === 0 ? ['0', '2'] : ['0', '0']);
  expect(one.outputs()).toEqual(['x.raw']);
  clean(image);
  dumpFile(image, '/patch', `${one.folder}/dumped`);
  const winners = uploads.filter(
    (bytes) => difference(`${one.folder}/dumped`, one.input('candidate', bytes)) === undefined,
  );
  expect(winners).toHaveLength(1);
  if (force.length > 0) return;
  const winner = ended.findIndex(({ exitCode }) => exitCode === 0);
  expect(winners[0]).toBe(uploads[winner]);
  const loser = ended[1 - winner];
  expect(loser?.stderr).toContain('the output appeared while it was being built');
  expect(loser?.stderr).toContain('not ours');
});
