import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isPatchVdiError } from '../../src/errors.js';
import { startVerifier, type UploadVerifier, type VerifierOptions } from '../../src/signature/verifier.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { GIB, MIB } from '../../src/units.js';
import { compressed, CONTENT, GOOD, mallory, message, ONE_PASS } from './container-attacks.js';
import { literal } from './craft.js';
import { drive, refusal, words } from './drive.js';
import { OpenPgpBench } from './openpgp-bench.js';

/** gpgv that is missing, dies, hangs or lies, and a caller that stops: no error goes astray, no buffer is lost. */
let bench: OpenPgpBench;
let keyring: string;

beforeAll(() => {
  bench = new OpenPgpBench();
  keyring = bench.file(mallory.keyring());
});

afterAll(() => bench.close());

/** A folder with a program `gpgv` that is this shell script, for the search path. */
function fake(script: string): string[] {
  const folder = join(bench.folder, `fake-${Math.random().toString(36).slice(2)}`);
  mkdirSync(folder);
  const path = join(folder, 'gpgv');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return [folder, ...DEFAULT_SEARCH_PATH];
}

const verify = (upload: Uint8Array, options: Partial<VerifierOptions> & { searchPath?: string[] } = {}) =>
  drive(
    upload,
    { keyrings: [keyring] },
    { temporaryFolder: bench.temporaryFolder, chunks: 65536, ...options },
  );

function start(searchPath: readonly string[], abortSignal?: AbortSignal): Promise<UploadVerifier> {
  const environment = { searchPath, temporaryFolder: bench.temporaryFolder };
  return startVerifier({ keyrings: [keyring] }, { environment, clearTextLimitBytes: 2 * GIB, abortSignal });
}

const FPR = mallory.fingerprint;
const NEWSIG = '[GNUPG:] NEWSIG';
const GOODSIG = `[GNUPG:] GOODSIG ${FPR.slice(-16)} Mallory`;
const VALIDSIG = `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 1 8 00 ${FPR}`;
const says = (lines: readonly string[], exitCode = 0, stderr = '') =>
  fake(`cat > /dev/null\ncat <<'END'\n${lines.join('\n')}\nEND\n${stderr}\nexit ${exitCode}`);

describe('a gpgv that lies', () => {
  it('the fake is believed when it says the right thing', async () => {
    await verify(GOOD, { searchPath: says([NEWSIG, GOODSIG, VALIDSIG]) });
  });

  it.each<readonly [string, readonly string[], number, string]>([
    ['GOODSIG and VALIDSIG, but exit 1', [NEWSIG, GOODSIG, VALIDSIG], 1, 'does not vouch'],
    ['exit 0 without a word', [], 0, 'gpgv reports a problem'],
    ['exit 0 without VALIDSIG', [NEWSIG, GOODSIG], 0, 'not found valid'],
    ['exit 0 without GOODSIG', [NEWSIG, VALIDSIG], 0, 'unexpected way'],
    ['exit 0 without NEWSIG', [GOODSIG, VALIDSIG], 0, 'unexpected way'],
    [
      'one signature too many',
      [NEWSIG, GOODSIG, VALIDSIG, NEWSIG, GOODSIG, VALIDSIG],
      0,
      'not every signature',
    ],
    ['two VALIDSIG for one', [NEWSIG, GOODSIG, VALIDSIG, VALIDSIG], 0, 'unexpected way'],
    ['two judgements for one', [NEWSIG, GOODSIG, GOODSIG, VALIDSIG], 0, 'unexpected way'],
    ['NODATA besides', [NEWSIG, GOODSIG, VALIDSIG, '[GNUPG:] NODATA 3'], 0, 'finds no signed data'],
    ['ERROR besides', [NEWSIG, GOODSIG, VALIDSIG, '[GNUPG:] ERROR x 1'], 0, 'ERROR x 1'],
    ['FAILURE besides', [NEWSIG, GOODSIG, VALIDSIG, '[GNUPG:] FAILURE x 1'], 0, 'FAILURE x 1'],
    ['BADSIG besides', [NEWSIG, GOODSIG, VALIDSIG, NEWSIG, '[GNUPG:] BADSIG 1 x'], 0, 'BAD signature'],
    [
      'an unknown line',
      [NEWSIG, GOODSIG, VALIDSIG, '[GNUPG:] NEW_THING \u001b[31m'],
      0,
      'NEW_THING \\x1b[31m',
    ],
    ['a line without the prefix', [NEWSIG, GOODSIG, VALIDSIG, 'hello'], 0, 'foreign line hello'],
    ['a line with a prefix in it', [NEWSIG, GOODSIG, `x${VALIDSIG}`], 0, 'foreign line'],
    ['VALIDSIG of class 1', [NEWSIG, GOODSIG, VALIDSIG.replace(' 00 ', ' 01 ')], 0, 'signature type 1'],
    ['VALIDSIG with MD5', [NEWSIG, GOODSIG, VALIDSIG.replace(' 8 00', ' 1 00')], 0, 'weak digest'],
    [
      'VALIDSIG with an unknown hash',
      [NEWSIG, GOODSIG, VALIDSIG.replace(' 8 00', ' 77 00')],
      0,
      'algorithm 77',
    ],
    [
      'VALIDSIG with a short fingerprint',
      [NEWSIG, GOODSIG, VALIDSIG.replace(FPR, FPR.slice(1))],
      0,
      'unknown arguments',
    ],
    ['VALIDSIG cut off', [NEWSIG, GOODSIG, VALIDSIG.slice(0, 100)], 0, 'unknown arguments'],
  ])('%s', async (_, lines, exitCode, expected) => {
    const error = await refusal(verify(GOOD, { searchPath: says(lines, exitCode) }));
    expect(error.kind).toBe('signature');
    expect(words(error)).toContain(expected);
  });

  it('a VALIDSIG whose line does not end', async () => {
    const script = `cat >/dev/null; printf '%s\\n' '${NEWSIG}' '${GOODSIG}'; printf '%s' '${VALIDSIG}'`;
    const error = await refusal(verify(GOOD, { searchPath: fake(script) }));
    expect(words(error)).toContain('unfinished line');
  });
});

describe('a gpgv that fails', () => {
  it('is missing: nothing is left', async () => {
    const error = await refusal(verify(GOOD, { searchPath: [bench.temporaryFolder] }));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain('gpgv was not found');
  });

  it('fails without a word about signatures: its stderr is in the error, made printable', async () => {
    const script = fake("cat >/dev/null; printf 'gpgv: no \\033[31m such option\\n' >&2; exit 2");
    const error = await refusal(verify(GOOD, { searchPath: script }));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain('exit code 2: gpgv: no \\x1b[31m such option');
  });

  it('is killed at its end', async () => {
    const error = await refusal(verify(GOOD, { searchPath: fake('cat >/dev/null; kill -9 $$') }));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain('SIGKILL');
  });

  it('exits at once: the rest of the upload is still taken', async () => {
    const upload = message(
      ONE_PASS,
      literal(Buffer.alloc(20 * MIB)),
      mallory.version4(Buffer.alloc(20 * MIB)),
    );
    const error = await refusal(verify(upload, { searchPath: fake('exit 3') }));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain('exit code 3');
  });

  it('is killed while it reads (the real one)', async () => {
    const pidFile = join(bench.folder, 'pid');
    const verifier = await start(fake(`echo $$ > ${pidFile}; exec /usr/bin/gpgv "$@"`));
    try {
      const content = Buffer.alloc(8 * MIB);
      const upload = message(ONE_PASS, literal(content), mallory.version4(content));
      let returned = 0;
      const count = () => {
        returned += 1;
      };
      verifier.write(upload.subarray(0, 4 * MIB), count);
      while (returned < 1) await sleep(5);
      process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
      for (let at = 4 * MIB; at < upload.length; at += MIB)
        verifier.write(upload.subarray(at, at + MIB), count);
      const error = await refusal(verifier.finish());
      expect(error.kind).toBe('tool');
      expect(words(error)).toContain('SIGKILL');
      await sleep(10);
      expect(returned).toBe(6);
    } finally {
      await verifier.dispose();
    }
  });

  it('never ends', async () => {
    const script = fake('cat >/dev/null; exec sleep 600');
    const error = await refusal(verify(GOOD, { searchPath: script, exitTimeoutMilliseconds: 100 }));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain('gpgv does not end');
  });

  it('its faults come after those of the container', async () => {
    const error = await refusal(verify(GOOD.subarray(0, -1), { searchPath: fake('exit 3') }));
    expect(error.kind).toBe('signature');
  });
});

describe('stopping', () => {
  const hanging = () => fake('exec sleep 600');

  it('dispose gives back what a gpgv that reads nothing has not read', async () => {
    const verifier = await start(hanging());
    let returned = 0;
    const big = message(ONE_PASS, literal(Buffer.alloc(4 * MIB)));
    for (let at = 0; at < big.length; at += MIB)
      verifier.write(big.subarray(at, at + MIB), () => (returned += 1));
    await sleep(50);
    expect(returned).toBe(0);
    const [home = ''] = readdirSync(bench.temporaryFolder);
    expect(existsSync(join(bench.temporaryFolder, home, 'keyring-0.gpg'))).toBe(true);
    await Promise.all([verifier.dispose(), verifier.dispose()]);
    expect(returned).toBe(5);
    expect(readdirSync(bench.temporaryFolder)).toEqual([]);
    expect(() => verifier.write(GOOD, () => undefined)).toThrow('was stopped');
    expect((await refusal(verifier.finish())).kind).toBe('interrupted');
    await verifier.dispose();
  });

  it('dispose while finish waits', async () => {
    const verifier = await start(hanging());
    verifier.write(GOOD, () => undefined);
    const finished = refusal(verifier.finish());
    await sleep(20);
    await verifier.dispose();
    expect((await finished).kind).toBe('interrupted');
  });

  it('dispose while the inflater works', async () => {
    const verifier = await start(DEFAULT_SEARCH_PATH);
    const upload = compressed(message(ONE_PASS, literal(Buffer.alloc(64 * MIB)), mallory.version4(CONTENT)));
    let returned = 0;
    let written = 0;
    for (let at = 0; at < upload.length; at += 4096) {
      verifier.write(upload.subarray(at, at + 4096), () => (returned += 1));
      written += 1;
    }
    const finished = refusal(verifier.finish());
    await verifier.dispose();
    expect((await finished).kind).toBe('interrupted');
    await sleep(20);
    expect(returned).toBe(written);
  });

  it('abort before, during and in the end', async () => {
    const before = AbortSignal.abort();
    const early = await refusal(
      start(hanging(), before).then((verifier) => verifier.finish().finally(() => verifier.dispose())),
    );
    expect(early.kind).toBe('interrupted');

    for (const ending of [false, true]) {
      const controller = new AbortController();
      const verifier = await start(hanging(), controller.signal);
      let returned = 0;
      verifier.write(ending ? GOOD : GOOD.subarray(0, 20), () => (returned += 1));
      const finished = ending ? refusal(verifier.finish()) : undefined;
      await sleep(20);
      controller.abort();
      const error = await (finished ?? refusal(verifier.finish()));
      expect(error.kind).toBe('interrupted');
      await verifier.dispose();
      expect(returned).toBe(1);
    }
    expect(readdirSync(bench.temporaryFolder)).toEqual([]);
  });

  it('the temporary folder cannot be used', async () => {
    const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: '/nonexistent' };
    const outcome = startVerifier({ keyrings: [keyring] }, { environment, clearTextLimitBytes: 1 });
    const error = await refusal(outcome);
    expect(isPatchVdiError(error) && error.kind).toBe('usage');
    expect(words(error)).toContain('ENOENT');
  });
});
