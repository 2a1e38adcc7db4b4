import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { clearTextFault, parseStatus, startGpgv } from '../../src/tools/gpgv.js';
import { CraftedKey, literal } from '../signature/craft.js';

const FPR = 'A'.repeat(40);

describe('parseStatus', () => {
  it('reads the lines that matter', () => {
    const lines = [
      '[GNUPG:] NEWSIG alice@example.org',
      '[GNUPG:] GOODSIG AAAAAAAAAAAAAAAA Zo%C3%AB %25 %0A<z@example.org>',
      `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 22 8 00 ${FPR}`,
      `[GNUPG:] ERRSIG AAAAAAAAAAAAAAAA 22 8 00 1795292557 9 ${FPR}`,
      '[GNUPG:] ERRSIG AAAAAAAAAAAAAAAA 22 8 00 1795292557 4 -',
      '[GNUPG:] NODATA 3',
    ];
    expect(parseStatus(`${lines.join('\n')}\n`)).toEqual([
      { keyword: 'other', name: 'NEWSIG', text: 'alice@example.org' },
      { keyword: 'GOODSIG', keyId: 'AAAAAAAAAAAAAAAA', userId: 'Zoë % \n<z@example.org>' },
      {
        keyword: 'VALIDSIG',
        signingFingerprint: FPR,
        primaryFingerprint: FPR,
        createdAt: 1600000010,
        hashAlgorithm: 8,
        signatureType: 0,
      },
      { keyword: 'ERRSIG', keyId: FPR, hashAlgorithm: 8, reason: 9 },
      { keyword: 'ERRSIG', keyId: 'AAAAAAAAAAAAAAAA', hashAlgorithm: 8, reason: 4 },
      { keyword: 'other', name: 'NODATA', text: '3' },
    ]);
    expect(parseStatus('')).toEqual([]);
  });

  it('makes nothing of anything else', () => {
    const others = [
      `VALIDSIG ${FPR}`,
      ` [GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 22 8 00 ${FPR}`,
      `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 22 8 00`,
      `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 20200913T000000 0 4 0 22 8 00 ${FPR}`,
      `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 22 8 00 ${FPR} more`,
      `[GNUPG:]VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 22 8 00 ${FPR}`,
      '',
    ];
    for (const line of others) expect(parseStatus(`${line}\n`)).toMatchObject([{ keyword: 'other' }]);
    const unfinished = `[GNUPG:] VALIDSIG ${FPR} 2020-09-13 1600000010 0 4 0 22 8 00 ${FPR}`;
    expect(parseStatus(unfinished)).toMatchObject([{ keyword: 'other', name: 'unfinished line' }]);
  });
});

describe('startGpgv', () => {
  let folder: string;
  const key = new CraftedKey('Crafted');
  const content = Buffer.from('hello');

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'gpgv-test-'));
    writeFileSync(join(folder, 'ring.gpg'), key.keyring());
    writeFileSync(join(folder, '-sig'), key.version4(content));
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const start = (detachedSignaturePath?: string, keyringPaths = [join(folder, 'ring.gpg')]) =>
    startGpgv({
      environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: folder },
      homeFolder: folder,
      keyringPaths,
      detachedSignaturePath,
    });

  it('reads a signed message from stdin', async () => {
    const gpgv = await start();
    gpgv.stdin.end(Buffer.concat([key.onePass(), literal(content), key.version4(content)]));
    const { exitCode, stdout } = await gpgv.finished;
    expect(exitCode).toBe(0);
    expect(parseStatus(stdout).at(-1)).toMatchObject({
      keyword: 'VALIDSIG',
      primaryFingerprint: key.fingerprint,
    });
  });

  it('writes the clear text, also of a bad message, over what is there', async () => {
    const clearTextPath = join(folder, 'clear');
    writeFileSync(clearTextPath, 'something longer that was there');
    for (const [signature, exitCode] of [
      [key.version4(content), 0],
      [key.version4(Buffer.from('hellO')), 1],
    ] as const) {
      const gpgv = await startGpgv({
        environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: folder },
        homeFolder: folder,
        keyringPaths: [join(folder, 'ring.gpg')],
        clearTextPath,
      });
      gpgv.stdin.end(Buffer.concat([key.onePass(), literal(content, 'the name'), signature]));
      const result = await gpgv.finished;
      expect([result.exitCode, clearTextFault(result)]).toEqual([exitCode, undefined]);
      expect(parseStatus(result.stdout).slice(0, 2)).toEqual([
        { keyword: 'other', name: 'PLAINTEXT', text: '62 1600000000 the%20name' },
        { keyword: 'other', name: 'PLAINTEXT_LENGTH', text: '5' },
      ]);
      expect(readFileSync(clearTextPath)).toEqual(content);
    }
  });

  it('says why it cannot write the clear text', async () => {
    for (const [clearTextPath, fault] of [
      [join(folder, 'no/such'), 'No such file or directory'],
      [folder, 'Is a directory'],
    ] as const) {
      const gpgv = await startGpgv({
        environment: { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: folder },
        homeFolder: folder,
        keyringPaths: [join(folder, 'ring.gpg')],
        clearTextPath,
      });
      gpgv.stdin.end(Buffer.concat([key.onePass(), literal(content), key.version4(content)]));
      expect(clearTextFault(await gpgv.finished)).toBe(fault);
    }
    const stderr = 'gpgv: Good signature from "x gpgv: handle plaintext failed: no"\n';
    expect(clearTextFault({ stderr, signal: undefined })).toBeUndefined();
    expect(clearTextFault({ stderr, signal: 'SIGKILL' })).toBeUndefined();
    expect(clearTextFault({ stderr, signal: 'SIGXFSZ' })).toBe('File too large');
  });

  it('reads the data of a detached signature from stdin', async () => {
    for (const [data, exitCode] of [
      [content, 0],
      [Buffer.from('hellO'), 1],
    ] as const) {
      const gpgv = await start(join(folder, '-sig'));
      gpgv.stdin.end(data);
      expect((await gpgv.finished).exitCode).toBe(exitCode);
    }
  });

  it('without the key it says so', async () => {
    writeFileSync(join(folder, 'other.gpg'), new CraftedKey('Other').keyring());
    const gpgv = await start(undefined, [join(folder, 'other.gpg')]);
    gpgv.stdin.end(Buffer.concat([key.onePass(), literal(content), key.version4(content)]));
    const { exitCode, stdout } = await gpgv.finished;
    expect(exitCode).toBe(2);
    expect(parseStatus(stdout)).toContainEqual(expect.objectContaining({ keyword: 'ERRSIG', reason: 9 }));
  });
});
