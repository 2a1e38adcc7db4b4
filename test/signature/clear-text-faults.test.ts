import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startVerifier, type UploadVerifier } from '../../src/signature/verifier.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { MIB } from '../../src/units.js';
import { requireRoot, requireTool } from '../oracles/require-tool.js';
import { compressed, CONTENT, GOOD, mallory, message, ONE_PASS } from './container-attacks.js';
import { literal } from './craft.js';
import { drive, refusal, words, type DriveOptions } from './drive.js';
import { OpenPgpBench } from './openpgp-bench.js';
import { SmallDisk } from './small-disk.js';

/** gpgv that cannot write, dies or lies about the clear text, and somebody who meddles: there is no file then. */
let bench: OpenPgpBench;
let keyring: string;
let folder: string;
let path: string;

beforeAll(() => {
  bench = new OpenPgpBench();
  keyring = bench.file(mallory.keyring());
});

afterAll(() => bench.close());

beforeEach(() => {
  folder = join(bench.folder, `out-${Math.random().toString(36).slice(2)}`);
  mkdirSync(folder);
  path = join(folder, 'clear');
});

/** A folder with a program `gpgv` that is this shell script, in which `$OUT` is the file to write. */
function fake(script: string): string[] {
  const programs = join(bench.folder, `fake-${Math.random().toString(36).slice(2)}`);
  mkdirSync(programs);
  const findOut = 'for word; do [ "$last" = --output ] && OUT=$word; last=$word; done';
  writeFileSync(join(programs, 'gpgv'), `#!/bin/sh\n${findOut}\n${script}\n`);
  chmodSync(join(programs, 'gpgv'), 0o755);
  return [programs, ...DEFAULT_SEARCH_PATH];
}

function extract(upload: Uint8Array, options: Partial<DriveOptions> = {}) {
  const { temporaryFolder } = bench;
  return drive(upload, { keyrings: [keyring] }, { temporaryFolder, clearTextPath: path, ...options });
}

function signed(bytes: number, fill = 0x61): Buffer {
  const content = Buffer.alloc(bytes, fill);
  return message(ONE_PASS, literal(content), mallory.version4(content));
}

const FPR = mallory.fingerprint;
const SIGNED = [
  '[GNUPG:] NEWSIG',
  `[GNUPG:] GOODSIG ${FPR.slice(-16)} Mallory`,
  `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 1 8 00 ${FPR}`,
];
const PLAINTEXT = '[GNUPG:] PLAINTEXT 62 1600000000 name';
const LENGTH = `[GNUPG:] PLAINTEXT_LENGTH ${CONTENT.length}`;
const WRITE = `printf 'echo good\\n' > "$OUT"`;

const says = (lines: readonly string[], write = WRITE) =>
  fake(`cat > /dev/null\n${write}\ncat <<'END'\n${lines.join('\n')}\nEND`);

describe('a gpgv that lies', () => {
  it.each([
    ['with a length', [PLAINTEXT, LENGTH, ...SIGNED]],
    ['without one', [PLAINTEXT, ...SIGNED]],
    ['with an empty name', ['[GNUPG:] PLAINTEXT 62 0 ', LENGTH, ...SIGNED]],
  ])('the fake is believed when it says and writes the right thing, %s', async (_, lines) => {
    await extract(GOOD, { searchPath: says(lines) });
    expect(readFileSync(path)).toEqual(CONTENT);
  });

  it.each<readonly [string, readonly string[], string]>([
    ['no PLAINTEXT', SIGNED, 'NEWSIG as the first line'],
    ['nothing', [], 'reports a problem'],
    ['a length alone', [LENGTH, ...SIGNED], 'PLAINTEXT_LENGTH 10 as the first line'],
    ['text format', [PLAINTEXT.replace('62', '74'), LENGTH, ...SIGNED], 'PLAINTEXT 74'],
    ['a format like binary', [PLAINTEXT.replace('62', '620'), LENGTH, ...SIGNED], 'PLAINTEXT 620'],
    ['another length', [PLAINTEXT, `${LENGTH}0`, ...SIGNED], 'PLAINTEXT_LENGTH 100'],
    ['a length in hex', [PLAINTEXT, '[GNUPG:] PLAINTEXT_LENGTH 0xa', ...SIGNED], 'PLAINTEXT_LENGTH 0xa'],
    ['two clear texts', [PLAINTEXT, LENGTH, PLAINTEXT, LENGTH, ...SIGNED], 'out of place'],
    ['two lengths', [PLAINTEXT, LENGTH, LENGTH, ...SIGNED], 'out of place'],
    ['one more behind', [PLAINTEXT, LENGTH, ...SIGNED, PLAINTEXT], 'out of place'],
    ['only behind', [...SIGNED, PLAINTEXT, LENGTH], 'as the first line'],
    ['an unknown line', [PLAINTEXT, LENGTH, '[GNUPG:] PLAINTEXT_NEW 1', ...SIGNED], 'PLAINTEXT_NEW 1'],
    ['no signature', [PLAINTEXT, LENGTH], 'not every signature'],
  ])('%s', async (_, lines, expected) => {
    const error = await refusal(extract(GOOD, { searchPath: says(lines) }));
    expect(error.kind).toBe('signature');
    expect(words(error)).toContain(expected);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('speaks of a clear text that nobody asked for', async () => {
    const searchPath = says([PLAINTEXT, LENGTH, ...SIGNED], '');
    const error = await refusal(extract(GOOD, { searchPath, clearTextPath: undefined }));
    expect(words(error)).toContain('PLAINTEXT 62');
  });

  it.each([
    ['a byte less', `printf 'echo good' > "$OUT"`, '9 bytes'],
    ['a byte more', `printf 'echo good\\n\\n' > "$OUT"`, '11 bytes'],
    ['nothing', '', '0 bytes'],
  ])('writes %s', async (_, write, found) => {
    const error = await refusal(extract(GOOD, { searchPath: says([PLAINTEXT, LENGTH, ...SIGNED], write) }));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain(`did not write the clear text as it is | ${found} | 10 bytes`);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('puts another file in the place of ours', async () => {
    const write = `${WRITE}; cp "$OUT" "$OUT.new"; mv "$OUT.new" "$OUT"`;
    const error = await refusal(extract(GOOD, { searchPath: says([PLAINTEXT, LENGTH, ...SIGNED], write) }));
    expect(error.kind).toBe('sink');
    expect(error.message).toContain('was replaced');
  });
});

describe('a gpgv that fails', () => {
  it.each([
    ['is killed', "exec /bin/sh -c 'head -c 100000 >/dev/null; kill -9 $$'", 'SIGKILL'],
    ['is killed after it has written all', `cat >/dev/null; ${WRITE}; kill -9 $$`, 'SIGKILL'],
    ['exits', `cat >/dev/null; ${WRITE}; exit 3`, 'exit code 3'],
    ['never ends', `cat >/dev/null; ${WRITE}; exec sleep 600`, 'gpgv does not end'],
  ])('%s', async (_, script, expected) => {
    const options = { searchPath: fake(script), exitTimeoutMilliseconds: 200, chunks: 65536 };
    const error = await refusal(extract(signed(MIB), options));
    expect(error.kind).toBe('tool');
    expect(words(error)).toContain(expected);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is missing', async () => {
    const error = await refusal(extract(GOOD, { searchPath: [bench.temporaryFolder] }));
    expect(error.kind).toBe('tool');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is killed while it writes (the real one)', async () => {
    const pidFile = join(bench.folder, 'pid');
    const searchPath = fake(`echo $$ > ${pidFile}; exec /usr/bin/gpgv "$@"`);
    const verifier = await start(searchPath);
    const upload = signed(8 * MIB);
    await new Promise<void>((resolve) => verifier.write(upload.subarray(0, 4 * MIB), resolve));
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
    verifier.write(upload.subarray(4 * MIB), () => undefined);
    const error = await refusal(verifier.finish());
    expect(words(error)).toContain('SIGKILL');
    expect(readdirSync(folder)).toEqual([]);
    await verifier.dispose();
  });

  it('may not write so much (the real one)', async () => {
    // The kernel sends SIGXFSZ, or where that is ignored, EFBIG.
    for (const ignored of ['', "trap '' XFSZ; "]) {
      const searchPath = fake(`${ignored}ulimit -f 1024; exec /usr/bin/gpgv "$@"`);
      const error = await refusal(extract(signed(4 * MIB), { searchPath, chunks: 65536 }));
      expect([error.kind, error.context.found, error.context.path]).toEqual([
        'space',
        'File too large',
        folder,
      ]);
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it('cannot write for another reason', async () => {
    const message =
      "gpgv: error writing to '/x': Input/output error\ngpgv: handle plaintext failed: Input/output error";
    const searchPath = fake(
      `cat >/dev/null; printf '%s\\n' "${message}" >&2; echo '[GNUPG:] BADSIG 1 x'; exit 1`,
    );
    const error = await refusal(extract(GOOD, { searchPath }));
    expect([error.kind, error.context.found]).toEqual(['tool', 'Input/output error']);
  });
});

function start(searchPath: readonly string[] = DEFAULT_SEARCH_PATH): Promise<UploadVerifier> {
  const environment = { searchPath, temporaryFolder: bench.temporaryFolder };
  return startVerifier(
    { keyrings: [keyring] },
    { environment, clearTextLimitBytes: 64 * MIB, clearTextPath: path },
  );
}

describe('a disk that is full', () => {
  let disk: SmallDisk | undefined;

  beforeEach((context) => {
    requireRoot(context);
    requireTool(context, 'mount', 'umount');
  });

  afterEach(() => {
    disk?.close();
    disk = undefined;
  });

  const upload = signed(MIB - 100);
  const tail = (bytes: number) => compressed(signed(bytes));

  it('while gpgv writes, and when it closes the file: gpgv itself says VALIDSIG then', async () => {
    for (const freeBytes of [256 * 1024, MIB - 4096]) {
      disk = new SmallDisk(folder, freeBytes);
      for (const whole of [upload, tail(MIB - 100)]) {
        const error = await refusal(extract(whole, { chunks: 65536 }));
        expect([error.kind, error.context.path]).toEqual(['space', folder]);
        expect(error.context.found).toBe('No space left on device');
        expect(readdirSync(folder)).toEqual([]);
      }
      disk.close();
    }
    disk = new SmallDisk(folder, MIB - 4096);
    const output = join(folder, 'gpgv-alone');
    const opinion = bench.gpgv(upload, keyring, output);
    expect([opinion.exitCode, opinion.status.includes('VALIDSIG')]).toEqual([2, true]);
    expect(opinion.clearText?.length).toBeLessThan(MIB - 100);
  });

  it('that has just the room', async () => {
    disk = new SmallDisk(folder, MIB);
    await extract(upload, { chunks: 65536 });
    expect(readFileSync(path)).toHaveLength(MIB - 100);
  });

  it('already at the start', async () => {
    for (const inodes of [1, 2]) {
      disk = new SmallDisk(folder, MIB, inodes);
      const error = await refusal(extract(upload));
      expect([error.kind, error.context.path]).toEqual(['space', folder]);
      expect(readdirSync(folder)).toEqual([]);
      disk.close();
    }
  });
});

describe('somebody who may write to the folder', () => {
  async function meddle(with_: (work: string) => void): Promise<Awaited<ReturnType<typeof refusal>>> {
    const verifier = await start();
    try {
      verifier.write(GOOD.subarray(0, -1), () => undefined);
      await sleep(100);
      const [name = ''] = readdirSync(folder);
      with_(join(folder, name));
      verifier.write(GOOD.subarray(-1), () => undefined);
      return await refusal(verifier.finish());
    } finally {
      await verifier.dispose();
    }
  }

  it('moves our folder away: what is left of it is empty', async () => {
    const error = await meddle((work) => renameSync(work, join(folder, 'moved')));
    expect(error.kind).toBe('sink');
    expect(readdirSync(folder)).toEqual(['moved']);
    expect(readFileSync(join(folder, 'moved/clear-text'))).toHaveLength(0);
  });

  it('puts a folder of its own in its place: its file does not pass for ours', async () => {
    const error = await meddle((work) => {
      renameSync(work, join(folder, 'moved'));
      mkdirSync(work);
      writeFileSync(join(work, 'clear-text'), 'echo evil\n');
    });
    expect(error.kind).toBe('sink');
    expect(error.message).toContain('was replaced');
    expect(readFileSync(join(folder, 'moved/clear-text'))).toHaveLength(0);
    rmSync(path, { force: true });
  });
});
