import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { prepareServer, type PreparedServer } from '../../src/server/first-start.js';
import { requireTool } from '../oracles/require-tool.js';
import { runJudge } from '../oracles/run-judge.js';
import { temporaryFolder } from '../oracles/temporary-folder.js';
import { bundleChild } from '../pool/bundle-child.js';
import { pythonAccepts } from '../server/scrypt-judge.js';

const MOMENTS = Number(process.env['PATCH_VDI_KILLS'] ?? 12);

interface Words {
  /** The last one that was shown. */
  readonly password: string | undefined;
  readonly isDone: boolean;
}

/** Starts the child and kills it `milliseconds` after it began, or as soon as it says `until`. */
async function killedStart(
  child: string,
  state: string,
  milliseconds: number,
  until?: string,
): Promise<Words> {
  const running = spawn(process.execPath, [child, state], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(running, 'close');
  let password: string | undefined;
  let isDone = false;
  for await (const line of createInterface({ input: running.stdout })) {
    if (line === 'begin')
      void sleep(milliseconds, undefined, { ref: false }).then(() => running.kill('SIGKILL'));
    if (line.startsWith('password ')) password = line.slice('password '.length);
    if (line.startsWith('done ')) isDone = true;
    if (until !== undefined && line.startsWith(until)) running.kill('SIGKILL');
  }
  await ended;
  return { password, isDone };
}

async function start(stateFolder: string): Promise<PreparedServer> {
  return await prepareServer({
    stateFolder,
    config: undefined,
    hostName: 'killed.example',
    now: () => Date.now(),
  });
}

function rootHash(state: string): string {
  const hash = /"password_hash": "([^"]+)"/.exec(readFileSync(join(state, 'users.json'), 'utf8'))?.[1];
  if (hash === undefined) throw new Error('root has no hash');
  return hash;
}

/** What a start must find, or make good, whatever was done before it. */
async function expectWorking(state: string, { password, isDone }: Words): Promise<string> {
  const prepared = await start(state);
  await prepared.passwordShown();
  const known = prepared.firstPassword ?? password ?? '';
  // Who was told of a password and saw the start go on can rely on it.
  if (isDone) expect(prepared.firstPassword).toBeUndefined();
  expect(pythonAccepts(known, rootHash(state)), 'a password that somebody was told of').toBe(true);
  expect(await prepared.users.authenticate('root', known, '127.0.0.1')).toMatchObject({ role: 'pool-admin' });
  const names = readdirSync(state).toSorted();
  expect(names).toEqual([
    'certificate.pem',
    'keyrings',
    'pool-secret',
    'repositories.json',
    'sr',
    'tls.pem',
    'users.json',
  ]);
  for (const name of ['pool-secret', 'tls.pem', 'users.json', 'repositories.json']) {
    expect(statSync(join(state, name)).mode % 0o1000, name).toBe(0o600);
  }
  expect(statSync(state).mode % 0o1000).toBe(0o700);
  const pem = join(state, 'tls.pem');
  const checked = runJudge('openssl', ['verify', '-CAfile', join(state, 'certificate.pem'), pem]);
  expect(checked.stdout).toBe(`${pem}: OK\n`);
  const [ofKey, ofCertificate] = [
    runJudge('openssl', ['pkey', '-in', pem, '-pubout']).stdout,
    runJudge('openssl', ['x509', '-in', pem, '-noout', '-pubkey']).stdout,
  ];
  expect(ofKey).toBe(ofCertificate);
  const mark = readFileSync(join(state, 'sr', '.patch-vdi-sr.json'), 'utf8');
  expect(mark).toContain(`"${prepared.defaultSrUuid}"`);
  return known;
}

test('a first start that is killed at any moment does no harm to the next', async (context) => {
  requireTool(context, 'openssl', 'python3');
  const folder = temporaryFolder();
  const child = await bundleChild('test/server/killed-start.ts', folder);
  const state = join(folder, 'state');
  // Numbers from 0 to 1 (Park and Miller): the same in every run.
  let seed = 20_261_121;
  for (let moment = 0; moment < MOMENTS; moment += 1) {
    seed = (seed * 48_271) % 2_147_483_647;
    let words = await killedStart(child, state, (seed / 2_147_483_647) * 600);
    // Now and then one that goes on where another one was killed is killed, too.
    if (moment % 3 === 2) {
      const more = await killedStart(child, state, (seed % 200) + 1);
      words = { password: more.password ?? words.password, isDone: words.isDone || more.isDone };
    }
    await expectWorking(state, words);
    rmSync(state, { recursive: true });
  }
});

test('killed between the password and its acknowledgement, there is a new password', async (context) => {
  requireTool(context, 'openssl', 'python3');
  const folder = temporaryFolder();
  const child = await bundleChild('test/server/killed-start.ts', folder);
  const state = join(folder, 'state');
  // Not shown at all, as far as anybody can know: the hash is there and nobody has the password.
  const first = await start(state);
  const lost = first.firstPassword ?? '';
  const untold = JSON.parse(readFileSync(join(state, 'users.json'), 'utf8')) as {
    users: { was_shown: boolean }[];
  };
  expect(untold.users.map(({ was_shown: wasShown }) => wasShown)).toEqual([false]);
  expect(pythonAccepts(lost, rootHash(state))).toBe(true);
  await first.passwordShown();
  rmSync(state, { recursive: true });

  const words = await killedStart(child, state, 30_000, 'password ');
  const known = await expectWorking(state, words);
  // Sabotage: the judge knows another password from it.
  expect(pythonAccepts(lost, rootHash(state))).toBe(false);
  const again = await start(state);
  expect(again.firstPassword).toBeUndefined();
  expect(await again.users.authenticate('root', known, '::1')).toMatchObject({ name: 'root' });
});

test('of three first starts at once one makes everything, and the others go on with it or refuse', async (context) => {
  requireTool(context, 'openssl', 'python3');
  const folder = temporaryFolder();
  const child = await bundleChild('test/server/killed-start.ts', folder);
  const state = join(folder, 'state');
  const outputs = await Promise.all(
    [1, 2, 3].map(async () => {
      const running = spawn(process.execPath, [child, state], { stdio: ['ignore', 'pipe', 'ignore'] });
      const lines: string[] = [];
      for await (const line of createInterface({ input: running.stdout })) lines.push(line);
      return lines;
    }),
  );
  const passwords = outputs.flat().filter((line) => line.startsWith('password '));
  expect(passwords).toHaveLength(1);
  // Who waits too long for the one that makes the key is told that the state is in use.
  const done = outputs.flat().filter((line) => line.startsWith('done '));
  expect(new Set(done).size).toBe(1);
  await expectWorking(state, { password: passwords[0]?.slice('password '.length), isDone: true });
});
