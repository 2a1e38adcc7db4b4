import { existsSync, readFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import {
  expectCleanText,
  expectNothingLeft,
  processesUsing,
  startCli,
  type Ended,
  type Started,
} from '../e2e/cli.js';
import { startFed, type Fed } from '../e2e/feeding.js';
import { makePipe } from '../e2e/pipes.js';
import { MIB, uploadBytes, writeUpload } from '../e2e/uploads.js';
import { workspace, type Workspace } from '../e2e/workspace.js';
import { CraftedKey } from '../signature/craft.js';
import { fakeTools } from './fake-tools.js';

/** What hangs would hang for ever; this only tells the two apart, on a machine with a busy disk, too. */
const AT_ONCE_MILLISECONDS = 15_000;

const SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const;

async function endsAtOnce(ended: Promise<Ended>): Promise<Ended> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`still running ${AT_ONCE_MILLISECONDS} ms after it`)),
      AT_ONCE_MILLISECONDS,
    );
  });
  return await Promise.race([ended, late]).finally(() => clearTimeout(timer));
}

const ANNOUNCED = 64 * MIB;

const toFile = (work: Workspace): string[] => ['-o', work.output('x.vhd')];
const writing = (work: Workspace) => expect.poll(() => work.outputs().length).toBe(1);
const runsTools = (work: Workspace) => expect.poll(() => processesUsing(work.tmp).length).toBeGreaterThan(0);

const SITUATIONS: readonly (readonly [name: string, run: (work: Workspace) => Promise<Fed>])[] = [
  [
    'while the source has not said a word',
    async (work) => {
      const fed = startFed(work, [
        'build',
        '-',
        ...toFile(work),
        '--allow-unsigned',
        '--content-length',
        String(ANNOUNCED),
      ]);
      await writing(work);
      return fed;
    },
  ],
  [
    'while a source without a length is silent',
    async (work) => {
      const fed = startFed(work, ['build', '-', ...toFile(work), '--allow-unsigned']);
      await writing(work);
      await fed.send(uploadBytes(3 * MIB));
      return fed;
    },
  ],
  [
    'while a source has fallen silent in the middle',
    async (work) => {
      const fed = startFed(work, [
        'build',
        '-',
        ...toFile(work),
        '--allow-unsigned',
        '--content-length',
        String(ANNOUNCED),
      ]);
      await fed.send(uploadBytes(3 * MIB));
      await writing(work);
      return fed;
    },
  ],
  [
    'while streaming',
    async (work) => {
      const fed = startFed(work, [
        'build',
        '-',
        ...toFile(work),
        '--allow-unsigned',
        '--content-length',
        String(1024 * MIB),
      ]);
      await fed.send(uploadBytes(3 * MIB));
      await writing(work);
      void sendForEver(fed);
      return fed;
    },
  ],
  [
    'while gpgv waits for more',
    async (work) => {
      const mallory = new CraftedKey('Mallory');
      const keyring = work.input('keys.gpg', mallory.keyring());
      const args = [...toFile(work), '--keyring', keyring, '--content-length', String(ANNOUNCED)];
      const fed = startFed(work, ['build', '-', ...args]);
      await fed.send(mallory.onePass());
      await runsTools(work);
      return fed;
    },
  ],
  [
    'while an upload is kept for a raw image behind a pipe',
    async (work) => {
      const args = ['--format', 'raw', '--allow-unsigned', '--content-length', String(ANNOUNCED)];
      const fed = startFed(work, ['build', '-', ...args]);
      await fed.send(uploadBytes(3 * MIB));
      return fed;
    },
  ],
  [
    'while the reader of the image does not read',
    async (work) => {
      const upload = writeUpload(`${work.folder}/upload`, 16 * MIB);
      const pipe = makePipe();
      const started = startCli(work, ['build', upload, '--format', 'vhd', '--allow-unsigned'], {
        stdout: pipe.writeFd,
      });
      pipe.closeWrite();
      void started.ended.then(pipe.closeRead);
      // Time to fill the pipe; if it is not full yet, this is a signal while streaming.
      await new Promise((done) => setTimeout(done, 500));
      return { ...started, send: () => Promise.resolve(false), end: () => undefined };
    },
  ],
  [
    'while a named pipe has no writer',
    async (work) => {
      const started = startCli(work, ['build', '/dev/fd/0', ...toFile(work), '--allow-unsigned'], {
        stdin: makePipe().readFd,
      });
      await writing(work);
      return { ...started, send: () => Promise.resolve(false), end: () => undefined };
    },
  ],
  [
    'while mke2fs hangs',
    async (work) => {
      const env = fakeTools(work, { mke2fs: 'exec sleep 1000' });
      const upload = work.input('upload', 'x');
      const started = startCli(work, ['build', upload, ...toFile(work), '--allow-unsigned'], { env });
      await expect.poll(() => processesUsing(work.folder).length).toBeGreaterThan(0);
      await writing(work);
      return { ...started, send: () => Promise.resolve(false), end: () => undefined };
    },
  ],
  [
    'while e2fsck hangs',
    async (work) => {
      const env = fakeTools(work, { e2fsck: 'exec sleep 1000' });
      const upload = work.input('upload', 'x');
      const started = startCli(work, ['build', upload, ...toFile(work), '--allow-unsigned'], { env });
      await writing(work);
      return { ...started, send: () => Promise.resolve(false), end: () => undefined };
    },
  ],
  [
    'while gpgv does not end',
    async (work) => {
      const env = fakeTools(work, { gpgv: 'cat > /dev/null; exec sleep 1000' });
      const mallory = new CraftedKey('Mallory');
      const keyring = work.input('keys.gpg', mallory.keyring());
      const signature = work.input('sig', mallory.version4(Buffer.from('x')));
      const upload = work.input('upload', 'x');
      const args = ['build', upload, ...toFile(work), '--keyring', keyring, '--signature', signature];
      const started = startCli(work, args, { env });
      await writing(work);
      return { ...started, send: () => Promise.resolve(false), end: () => undefined };
    },
  ],
  [
    'while gpgv does not read',
    async (work) => {
      const env = fakeTools(work, { gpgv: 'exec sleep 1000' });
      const mallory = new CraftedKey('Mallory');
      const keyring = work.input('keys.gpg', mallory.keyring());
      const signature = work.input('sig', mallory.version4(Buffer.from('x')));
      const upload = writeUpload(`${work.folder}/upload`, 16 * MIB);
      const args = ['build', upload, ...toFile(work), '--keyring', keyring, '--signature', signature];
      const started = startCli(work, args, { env });
      await writing(work);
      return { ...started, send: () => Promise.resolve(false), end: () => undefined };
    },
  ],
];

async function sendForEver(fed: Fed): Promise<void> {
  const bytes = uploadBytes(MIB);
  while (await fed.send(bytes));
}

test.for(
  SITUATIONS.flatMap(([name, run]) =>
    SIGNALS.map(([signal, exitCode]) => [signal, name, exitCode, run] as const),
  ),
)('%s %s: exit code %i, nothing is left', async ([signal, , exitCode, run]) => {
  const work = workspace();
  const { child, ended } = await run(work);
  child.kill(signal);
  const result = await endsAtOnce(ended);
  expect(result, result.stderr).toMatchObject({ exitCode, signal: null });
  expect(result.stderr).toMatch(/stopped/);
  expect(result.stderr).toContain('interrupted');
  expectCleanText(result.stderr);
  expectNothingLeft(work);
  expect(work.outputs()).toEqual([]);
});

/** Starts a build whose e2fsck ignores every polite signal, and waits until it runs. */
async function startStubborn(work: Workspace): Promise<Started> {
  const pidFile = `${work.folder}/pid`;
  const env = fakeTools(work, { e2fsck: `trap "" TERM INT HUP; echo $$ > ${pidFile}; exec sleep 1000` });
  const started = startCli(work, ['build', work.input('upload', 'x'), ...toFile(work), '--allow-unsigned'], {
    env,
  });
  const pid = (): number => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0);
  await expect.poll(pid).toBeGreaterThan(0);
  onTestFinished(() => {
    // After a second signal nobody else does it.
    if (existsSync(`/proc/${pid()}`)) process.kill(pid(), 'SIGKILL');
  });
  return started;
}

test('a program that ignores the signal is killed', async () => {
  const work = workspace();
  const { child, ended } = await startStubborn(work);
  child.kill('SIGINT');
  expect(await endsAtOnce(ended)).toMatchObject({ exitCode: 130 });
  expectNothingLeft(work);
  expect(work.outputs()).toEqual([]);
});

test('a second signal ends at once, without waiting for a program that ignores the first', async () => {
  const work = workspace();
  const { child, ended } = await startStubborn(work);
  child.kill('SIGINT');
  await new Promise((done) => setTimeout(done, 200));
  child.kill('SIGTERM');
  expect(await endsAtOnce(ended)).toMatchObject({ exitCode: 143, signal: null });
  expect(work.outputs()).not.toContain('x.vhd');
});
