import type { ByteReader } from '../../src/bytes.js';
import { inspectPage } from '../../src/cli/inspect-page.js';
import { isPatchVdiError } from '../../src/errors.js';
import type { Finding } from '../../src/findings.js';
import { compareImages } from '../../src/inspect/compare.js';
import { mapDisk } from '../../src/inspect/disk-map.js';
import { drawSvg } from '../../src/inspect/draw-svg.js';
import { drawText, type Paint } from '../../src/inspect/draw-text.js';
import type { ImageFile } from '../../src/inspect/image-file.js';
import type { Image } from '../../src/inspect/image.js';
import { openImage } from '../../src/inspect/open-image.js';
import { checkPayloadBlocks } from '../../src/inspect/payload-check.js';
import { inspectImage } from '../../src/inspect/report.js';
import { MIB } from '../../src/units.js';
import { openVhd } from '../../src/vhd/open-vhd.js';

/** So much of a content is read and compared: a hostile file may have holes of terabytes. */
const MAX_CONTENT_BYTES = 8 * MIB;
const MAX_LISTED = 2000;
const MAP_CELLS = 256;
const MAX_FINDINGS = 2000;
const COLUMNS = 80;
const plain: Paint = (_kind, letters) => letters;

/** What came of looking at one image in every way. */
export interface Outcome {
  /** What the bounds or the form of errors and findings say against it: each of these is a defect. */
  readonly faults: string[];
  readonly findings: Finding[];
  /** Kinds and messages of the errors by the step that they ended. */
  readonly errors: string[];
  /** The first bytes of `patch` as they were read to their end; undefined when that failed. */
  content: Uint8Array | undefined;
  /** The first bytes of the disk, of a VHD. */
  disk: Uint8Array | undefined;
}

const PRINTABLE = /^[\x20-\x7e]*$/;
const MAX_WORDS = 400;

function textFaults(what: string, text: string | undefined): string[] {
  if (text === undefined || text === '') return [`${what} is missing`];
  if (text.length > MAX_WORDS) return [`${what} has ${text.length} characters`];
  return PRINTABLE.test(text) ? [] : [`${what} is not printable: ${JSON.stringify(text)}`];
}

/** An error must be of kind `image`, and say what was found and expected. */
export function errorFaults(step: string, error: unknown): string[] {
  if (!isPatchVdiError(error)) {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return [`${step}: not an error of ours: ${words}`];
  }
  const what = `${step}: "${error.message}"`;
  if (error.kind !== 'image') return [`${what} is of kind ${error.kind}`];
  const { found, expected, offset } = error.context;
  return [
    ...textFaults(`${what}, found`, found),
    ...textFaults(`${what}, expected`, expected),
    ...(offset === undefined || (Number.isSafeInteger(offset) && offset >= 0)
      ? []
      : [`${what}: offset ${offset}`]),
  ];
}

function findingFaults(finding: Finding): string[] {
  const { code, structure, found, expected, offset } = finding;
  return [
    ...(/^[a-z0-9-]+$/.test(code) ? [] : [`the code ${JSON.stringify(code)}`]),
    ...textFaults(`finding ${code}, structure`, structure),
    ...textFaults(`finding ${code}, found`, found),
    ...textFaults(`finding ${code}, expected`, expected),
    ...(offset === undefined || (Number.isSafeInteger(offset) && offset >= 0)
      ? []
      : [`${code}: offset ${offset}`]),
  ];
}

async function readContent(file: ImageFile): Promise<Uint8Array> {
  const content = new Uint8Array(Math.min(file.size, MAX_CONTENT_BYTES));
  let done = 0;
  for await (const bytes of file.stream()) {
    content.set(bytes.subarray(0, content.length - done), done);
    done += bytes.length;
    if (done >= content.length) break;
  }
  if (done < content.length) throw new Error(`a stream of ${done} bytes for a file of ${file.size}`);
  return content;
}

export interface LookOptions {
  readonly format: 'raw' | 'vhd' | undefined;
  readonly offsetBytes: number;
  /** Compares the image with itself, too. */
  readonly compare: boolean;
  /** The parent of a differencing disk. */
  readonly parent: ByteReader | undefined;
}

class Looker {
  readonly outcome: Outcome = { faults: [], findings: [], errors: [], content: undefined, disk: undefined };

  async step<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.outcome.faults.push(...errorFaults(name, error));
      this.outcome.errors.push(`${name}: ${error instanceof Error ? error.message : 'something'}`);
      return undefined;
    }
  }

  async look(image: Image, options: LookOptions): Promise<void> {
    const report = await this.step('inspect', () => inspectImage(image, { thorough: true }));
    if (report !== undefined) {
      inspectPage(report, COLUMNS);
      JSON.stringify(report);
    }
    // Without a file system all else would fail for the same reason.
    const filesystem = report?.filesystem === undefined ? undefined : await image.filesystem();
    const file =
      report?.patch === undefined ? undefined : await this.step('open the file', () => image.patch());
    if (filesystem !== undefined) {
      const map = await this.step('map', () => mapDisk(image, filesystem, file, MAP_CELLS));
      if (map !== undefined) {
        drawText(map, COLUMNS, plain);
        drawSvg(map, { title: 'title', subtitle: 'subtitle' });
      }
      await this.step('list', async () => {
        let count = 0;
        for await (const { path } of filesystem.list()) {
          count += path.length > 0 ? 1 : 0;
          if (count >= MAX_LISTED) break;
        }
      });
    }
    if (filesystem !== undefined && file !== undefined) {
      await this.step('check the payload', () => checkPayloadBlocks(image, filesystem, file));
      this.outcome.content = await this.step('read the file', () => readContent(file));
    }
    if (image.vhd !== undefined) {
      const length = Math.min(MAX_CONTENT_BYTES, image.virtualSize ?? 0);
      this.outcome.disk = await this.step('read the disk', () => image.read(0, length));
    }
    if (options.compare && filesystem !== undefined) {
      const comparison = await this.step('compare', () => compareImages(image, image));
      // What damage may hide is not called the same; but nothing differs from itself.
      const differs = comparison !== undefined && comparison.differences.length > 0;
      const isOdd = comparison?.complete === true && !comparison.same;
      if (differs || isOdd || comparison?.samePayload === false) {
        this.outcome.faults.push(`an image differs from itself: ${JSON.stringify(comparison)}`);
      }
    }
    this.outcome.findings.push(...image.findings);
  }

  async lookAtChain(reader: ByteReader, parent: ByteReader): Promise<void> {
    const report = (finding: Finding): void => {
      if (this.outcome.findings.length < MAX_FINDINGS) this.outcome.findings.push(finding);
    };
    const openParent = (): Promise<ByteReader> => Promise.resolve(parent);
    await this.step('chain', async () => {
      const disk = await openVhd(reader, { report, openParent });
      const target = new Uint8Array(Math.min(MAX_CONTENT_BYTES, disk.sizeBytes));
      await disk.readInto(target, 0).finally(() => disk.close());
    });
  }
}

/** Everything that the commands do with an image, on a reader; whatever comes of it is in the outcome. */
export async function lookAt(reader: ByteReader, options: LookOptions): Promise<Outcome> {
  const looker = new Looker();
  const { format, offsetBytes, parent } = options;
  const image = await looker.step('open', () =>
    openImage(reader, { offsetBytes, ...(format === undefined ? {} : { format }) }),
  );
  if (image !== undefined) {
    await looker.look(image, options);
    await looker.step('close', () => image.close());
  }
  if (parent !== undefined) await looker.lookAtChain(reader, parent);
  const { outcome } = looker;
  outcome.faults.push(...outcome.findings.flatMap(findingFaults));
  return outcome;
}
