import { closeSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Cleanup } from '../../src/build/cleanup.js';
import { type BuildOptions } from '../../src/build/options.js';
import { openSource } from '../../src/build/places.js';
import { imageTimeSeconds } from '../../src/build/identity.js';
import { imageSize } from '../../src/build/size-rule.js';
import { writeInPlace } from '../../src/build/write-in-place.js';
import { writeStream } from '../../src/build/write-stream.js';
import { FileSink } from '../../src/io/file-sink.js';
import { openDescriptorSink } from '../../src/io/stream-sink.js';
import { DEFAULT_SEARCH_PATH } from '../../src/tools/find.js';
import { Cut, CuttingSink, type CutPoint } from './cutting-sink.js';

export type Output = 'file' | 'stream';

export interface CutBuild {
  readonly upload: string;
  readonly format: BuildOptions['format'];
  readonly output: Output;
  /** A folder of its own: everything in it afterwards was left by this build. */
  readonly folder: string;
  readonly temporaryFolder: string;
}

/**
 * Builds with an output that ends at `point`, or counts its operations when there is none.
 *
 * @returns the sink, for its counts, and the paths of what is left in the folder
 */
export async function cutBuild(
  build: CutBuild,
  point?: CutPoint,
): Promise<{ sink: CuttingSink; left: string[] }> {
  const final = join(build.folder, `image.${build.format}`);
  const fd = build.output === 'stream' ? openSync(final, 'w') : undefined;
  const cleanup = new Cleanup();
  const stop = new AbortController();
  const inner = fd === undefined ? new FileSink(final, false) : openDescriptorSink('stream', fd);
  const sink = new CuttingSink(inner, point);
  const options: BuildOptions = {
    source: build.upload,
    sink: final,
    format: build.format,
    verify: { unsigned: true },
    sourceDateEpoch: 1_700_000_000,
  };
  const source = await openSource(build.upload, {}, stop.signal);
  cleanup.add(() => source.close());
  const environment = { searchPath: DEFAULT_SEARCH_PATH, temporaryFolder: build.temporaryFolder };
  const virtualSize = imageSize(source.contentLength, undefined);
  const timeSeconds = imageTimeSeconds(options);
  const job = { options, environment, stop, source, sink, cleanup, virtualSize, timeSeconds };
  try {
    await (sink.seekable ? writeInPlace(job) : writeStream(job));
  } catch (error) {
    if (!(error instanceof Cut)) throw error;
  } finally {
    stop.abort(new Cut());
    await cleanup.run();
    if (fd !== undefined) closeSync(fd);
  }
  return { sink, left: readdirSync(build.folder).map((name) => join(build.folder, name)) };
}
