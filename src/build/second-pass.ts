import { createHash } from 'node:crypto';
import { PatchVdiError, invariant } from '../errors.js';
import type { Chunk, UploadSource } from '../io/chunk.js';

/**
 * An upload that was verified, read once more. Its last bytes are held back until all of it has the digest that the
 * verified bytes had: whoever gets the end has got what was verified.
 *
 * @param source repeatable, with its first pass behind it
 * @param sha256 of the verified bytes, lower-case hex
 */
export function secondPass(source: UploadSource, sha256: string): UploadSource {
  const { name, contentLength } = source;
  invariant(source.repeatable === true && contentLength !== undefined, 'it can be read again');
  return {
    name,
    contentLength,
    close: () => source.close(),
    async pump(receive, abortSignal) {
      const hash = createHash('sha256');
      let bytes = 0;
      let last: Chunk | undefined;
      await source.pump((chunk) => {
        bytes += chunk.bytes.length;
        if (bytes > contentLength) throw changed(source, `more than ${contentLength} bytes`, contentLength);
        hash.update(chunk.bytes);
        if (bytes < contentLength) return receive(chunk);
        last = chunk;
        return undefined;
      }, abortSignal);
      if (last === undefined) throw changed(source, `${bytes} bytes`, contentLength);
      if (hash.digest('hex') !== sha256)
        throw changed(source, 'other bytes in the second pass', contentLength);
      await receive(last);
    },
  };
}

function changed({ name }: UploadSource, found: string, length: number): PatchVdiError {
  return new PatchVdiError('upload', 'the upload was changed while it was read', {
    context: { path: name, found, expected: `the ${length} bytes that were verified` },
    hint: 'run it again when nobody writes to the file any more',
    leftBehind: 'an output without its end; of a raw image, what came before it may mount',
  });
}
