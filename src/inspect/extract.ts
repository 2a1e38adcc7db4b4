import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { DEFAULT_LEFT_BEHIND, isPatchVdiError, PatchVdiError, restate } from '../errors.js';
import { temporaryName } from '../io/dead-outputs.js';
import { openReader } from '../io/open-reader.js';
import { FileSink, requireFreeName } from '../io/file-sink.js';
import type { Sink } from '../io/sink.js';
import { WritableSink, openDescriptorSink } from '../io/stream-sink.js';
import type { SignaturePolicy } from '../signature/policy.js';
import type { VerifiedSignature } from '../signature/verdict.js';
import type { ToolEnvironment } from '../tools/find.js';
import { MIB } from '../units.js';
import type { FileChunk, ImageFile } from './image-file.js';
import type { Image } from './image.js';
import { nameWithin, passThroughVerifier } from './verify-file.js';

/** Where extracted bytes go. A file gets its name when it is complete; a stream is not ended. */
export type ExtractOutput =
  | { readonly path: string; readonly force?: boolean }
  | { readonly fd: number; readonly name: string }
  | Writable;

/** Which file `extractFile` takes out, and where to. */
export interface ExtractOptions {
  /** The file to take out; default `/patch`. */
  readonly path?: string | undefined;
  readonly output: ExtractOutput;
  /**
   * Takes the clear text out of the signed message that the file is, instead of the file: only what these keys have
   * signed comes out, and nothing before all of it is verified.
   */
  readonly payload?: SignaturePolicy | undefined;
  /** For `payload`: where programs are found and temporary files lie. */
  readonly environment?: ToolEnvironment | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    | ((progress: { readonly bytes: number; readonly totalBytes: number }) => void)
    | undefined;
}

/** What `extractFile` has written. */
export interface ExtractResult {
  readonly path: string;
  /** As given, or `standard output`. */
  readonly output: string;
  /** Bytes of the file in the image. */
  readonly size: number;
  /** Bytes that were written. */
  readonly outputBytes: number;
  /** With `payload`. */
  readonly signatures: readonly VerifiedSignature[];
}

function isWritable(output: ExtractOutput): output is Writable {
  return 'write' in output && typeof output.write === 'function';
}

function openOutput(output: ExtractOutput, signal: AbortSignal | undefined): Sink {
  if (isWritable(output)) return new WritableSink('output stream', output, signal);
  if ('fd' in output) return openDescriptorSink(output.name, output.fd, signal);
  return new FileSink(output.path, output.force ?? false);
}

/**
 * Writes chunks in order. What is known to be zeros becomes a hole where the output can have one.
 * Waits until the output has taken a chunk before its buffer may be used again.
 */
export async function writeChunks(
  chunks: AsyncIterable<FileChunk>,
  sink: Sink,
  onBytes: ((bytes: number) => void) | undefined,
): Promise<number> {
  let position = 0;
  for await (const { bytes, zeros } of chunks) {
    if (zeros) sink.writeZeros(position, bytes.length);
    else
      await new Promise<void>((taken, failed) => {
        sink.write(bytes, position, taken);
        // A stream that breaks tells those who wait for room, and gives no buffer back.
        sink.drained()?.catch(failed);
      });
    position += bytes.length;
    await sink.drained();
    onBytes?.(position);
  }
  return position;
}

/**
 * Copies a file out of an image.
 *
 * @throws PatchVdiError `image` when it is not there or cannot be read, `usage` | `space` | `sink` for the output,
 *   `signature` when the payload must not be trusted, `tool` when gpgv is missing; then nothing has the output's name
 */
export async function extractFile(image: Image, options: ExtractOptions): Promise<ExtractResult> {
  const { output } = options;
  if (!isWritable(output) && 'path' in output) requireFreeName(output.path, output.force ?? false);
  const file = await (await image.filesystem()).file(options.path ?? '/patch');
  try {
    return await copyFile(image, file, options);
  } catch (error) {
    throw inOurWords(error, !isWritable(output) && 'path' in output);
  }
}

/** What sinks say of disk images that are being built is not what is left of an extracted file. */
function inOurWords(error: unknown, isNamed: boolean): unknown {
  if (!isPatchVdiError(error)) return error;
  const { kind, leftBehind } = error;
  const isDefault = leftBehind === DEFAULT_LEFT_BEHIND[kind] && kind !== 'usage' && kind !== 'image';
  if (!isDefault) return error;
  const isGone = kind === 'sink' && !isNamed;
  return restate(error, {
    ...(isGone ? { hint: 'look at what reads the output' } : {}),
    leftBehind: isNamed
      ? 'nothing: no file has the name of the output'
      : 'what the output got is not all of it',
  });
}

async function copyFile(image: Image, file: ImageFile, options: ExtractOptions): Promise<ExtractResult> {
  const { output, signal } = options;
  if (options.payload !== undefined) return await extractPayload(image, file, options, options.payload);

  const sink = openOutput(output, signal);
  try {
    const total = file.size;
    const written = await writeChunks(abortable(file.chunks(), signal), sink, (bytes) =>
      options.onProgress?.({ bytes, totalBytes: total }),
    );
    await sink.commit(written);
    return { path: file.path, output: sink.name, size: total, outputBytes: written, signatures: [] };
  } finally {
    await sink.discard();
  }
}

/** Ends between two chunks when the signal is aborted, also when nothing has to be read. */
export async function* abortable(
  chunks: AsyncIterable<FileChunk>,
  signal: AbortSignal | undefined,
): AsyncGenerator<FileChunk> {
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

/** Where the clear text is until it gets its final name: beside that, or for a stream among temporary files. */
function clearTextName(output: ExtractOutput, environment: ToolEnvironment): string {
  if (!isWritable(output) && 'path' in output) return temporaryName(resolve(output.path));
  return join(resolve(environment.temporaryFolder), `patch-vdi-payload-${randomBytes(8).toString('hex')}`);
}

async function extractPayload(
  image: Image,
  file: ImageFile,
  options: ExtractOptions,
  policy: SignaturePolicy,
): Promise<ExtractResult> {
  const { output, environment, signal } = options;
  if (environment === undefined) {
    throw new PatchVdiError('usage', 'a payload needs to know where programs are', {
      context: { found: 'no environment', expected: 'where gpgv is found, and a folder for temporary files' },
    });
  }
  const clearTextPath = clearTextName(output, environment);
  try {
    const verified = await passThroughVerifier(abortable(file.chunks(), signal), policy, {
      name: nameWithin(image, file.path),
      environment,
      clearTextPath,
      // A message can inflate to anything: no patch has a clear text larger than its disk.
      clearTextLimitBytes: Math.max(image.virtualSize ?? 0, file.size, 16 * MIB),
      ...(signal === undefined ? {} : { abortSignal: signal }),
      onBytes: (bytes) => options.onProgress?.({ bytes, totalBytes: file.size }),
    });
    const named = !isWritable(output) && 'path' in output;
    const written = named
      ? await adopt(clearTextPath, output.path, output.force ?? false, verified.clearTextBytes)
      : await copyOut(clearTextPath, openOutput(output, signal));
    return {
      path: file.path,
      output: named ? output.path : isWritable(output) ? 'output stream' : output.name,
      size: file.size,
      outputBytes: written,
      signatures: verified.signatures,
    };
  } finally {
    await rm(clearTextPath, { force: true });
  }
}

/** The verified file itself gets the final name: its bytes are written once. */
async function adopt(from: string, path: string, force: boolean, bytes: number): Promise<number> {
  const sink = new FileSink(path, force, from);
  try {
    await sink.commit(bytes);
  } finally {
    await sink.discard();
  }
  return bytes;
}

async function copyOut(from: string, sink: Sink): Promise<number> {
  const reader = await openReader(from);
  try {
    const size = reader.sizeBytes ?? 0;
    const buffer = new Uint8Array(Math.min(MIB, Math.max(size, 1)));
    const chunks = async function* (): AsyncGenerator<FileChunk> {
      for (let at = 0; at < size; at += buffer.length) {
        const bytes = buffer.subarray(0, Math.min(buffer.length, size - at));
        await reader.readInto(bytes, at);
        yield { fileOffset: at, bytes, zeros: false };
      }
    };
    const written = await writeChunks(chunks(), sink, undefined);
    await sink.commit(written);
    return written;
  } finally {
    await sink.discard();
    await reader.close();
  }
}
