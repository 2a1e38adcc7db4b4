import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from './packets.js';
import { onePassPacket, type PatchSigner, type RunningSignature } from './signer.js';
import { startDetachedSignature, type CreatedSignature, type GpgCall } from '../tools/gpg.js';
import { makePrivateFolder } from '../tools/private-folder.js';
import type { RunningTool } from '../tools/run.js';

interface Trial {
  readonly created: CreatedSignature;
  readonly signature: Uint8Array;
}

/** Feeds gpg, which hashes what it reads and writes the signature into a private file. */
class GpgSignature implements RunningSignature {
  readonly #running: RunningTool;
  readonly #created: () => Promise<CreatedSignature>;
  readonly #path: string;

  constructor(running: RunningTool, created: () => Promise<CreatedSignature>, path: string) {
    this.#running = running;
    this.#created = created;
    this.#path = path;
    // gpg may give up before it has read everything; finish() asks how it ended.
    running.stdin.on('error', () => undefined);
  }

  update(bytes: Uint8Array): void | Promise<void> {
    const { stdin } = this.#running;
    if (stdin.destroyed || stdin.write(bytes)) return;
    return new Promise((resolve) => {
      const done = (): void => {
        stdin.off('drain', done);
        stdin.off('close', done);
        resolve();
      };
      stdin.once('drain', done);
      stdin.once('close', done);
    });
  }

  async result(): Promise<Trial> {
    this.#running.stdin.end();
    const created = await this.#created();
    return { created, signature: new Uint8Array(await readFile(this.#path)) };
  }

  async finish(): Promise<Uint8Array> {
    return (await this.result()).signature;
  }

  async dispose(): Promise<void> {
    this.#running.kill();
    await this.#running.finished.catch(() => undefined);
    await rm(this.#path, { force: true });
  }
}

/**
 * Signs with the default key of any gpg home. gpg makes a detached signature, which is the same packet as within a
 * message (RFC 4880 §5.2.4: only the document and the packet itself are hashed); how long it will be is learnt from a
 * signature on trial. Numbers with leading zeros make it shorter, about one signature in a hundred: the next attempt
 * is made as of one second later. gpg starts its agent for that home and leaves it running, as always.
 *
 * @param systemTime Unix seconds of the signature; undefined means the clock
 * @throws PatchVdiError `tool` with gpg's words, for instance when the key has a passphrase
 */
export async function gpgSigner(systemTime: number | undefined, call: GpgCall): Promise<PatchSigner> {
  const folder = await makePrivateFolder(call.environment, 'gpg');
  let count = 0;
  const start = async (attempt: number): Promise<GpgSignature> => {
    const now = systemTime ?? (attempt === 0 ? undefined : Math.floor(Date.now() / 1000));
    count += 1;
    const path = join(folder, `signature-${count}`);
    const time = now === undefined ? undefined : now + attempt;
    const { running, created } = await startDetachedSignature(path, time, call);
    return new GpgSignature(running, created, path);
  };
  const dispose = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const { created, signature } = await longestOfSome(start);
    const fingerprint = Uint8Array.from(Buffer.from(created.fingerprint, 'hex'));
    const onePass = onePassPacket(created.hashAlgorithm, created.publicKeyAlgorithm, fingerprint);
    const { fingerprint: text } = created;
    return { fingerprint: text, onePass, signatureBytes: signature.length, start, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** One trial may happen to be one of the short ones; three hardly are. */
async function longestOfSome(start: (attempt: number) => Promise<GpgSignature>): Promise<Trial> {
  const trials: Trial[] = [];
  for (const text of ['one', 'two', 'three']) {
    const running = await start(0);
    try {
      await running.update(utf8(text));
      trials.push(await running.result());
    } finally {
      await running.dispose();
    }
  }
  return trials.reduce((longest, trial) =>
    trial.signature.length > longest.signature.length ? trial : longest,
  );
}
