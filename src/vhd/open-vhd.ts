import type { ByteReader } from '../bytes.js';
import { mergeRuns, tableRuns } from './allocated-runs.js';
import { BlockReader, type ReadBelow } from './block-reader.js';
import { HiddenData } from './hidden-data.js';
import { closeAncestors, openChain, type Ancestor, type Chain } from './parent-chain.js';
import { readLayer, type VhdLayer } from './read-layer.js';
import type { DiskRun, OpenVhdOptions, VhdDisk, VhdParent } from './vhd-disk.js';
import { printable, vhdError, type Report } from './words.js';

export { looksLikeVhd } from './find-footer.js';
export type { OpenVhdOptions, ParentLocator, VhdDisk, VhdKind } from './vhd-disk.js';

/** A raw disk as a parent: as far as it goes. */
function isVhd(parent: VhdParent): parent is VhdDisk {
  return 'allocatedRuns' in parent;
}

/** Reads a parent, which may be smaller than its child: past its end there are zeros. */
function readFrom(parent: VhdParent): ReadBelow {
  return async (target, offsetBytes) => {
    const size = parent.sizeBytes ?? Number.MAX_SAFE_INTEGER;
    const inside = Math.max(0, Math.min(target.length, size - offsetBytes));
    target.fill(0, inside);
    if (inside > 0) await parent.readInto(target.subarray(0, inside), offsetBytes);
  };
}

const zeros: ReadBelow = (target) => {
  target.fill(0);
  return Promise.resolve();
};

function withoutParent(name: string): ReadBelow {
  return (_target, offsetBytes) =>
    Promise.reject(
      vhdError(name, 'disk', {
        found: `no parent, which has the bytes of the disk from ${offsetBytes}`,
        expected: 'the parent of a differencing disk',
      }),
    );
}

/** A fixed disk: its bytes stand in the file as they are, up to the footer. */
function readFixed(layer: VhdLayer): ReadBelow {
  return async (target, offsetBytes) => {
    const end = offsetBytes + target.length;
    if (end > layer.dataBytes) {
      throw vhdError(layer.reader.name, 'data', {
        offset: layer.dataBytes,
        found: `the footer, ${layer.dataBytes} bytes into the file`,
        expected: `data up to ${end}`,
      });
    }
    await layer.reader.readInto(target, offsetBytes);
  };
}

function belowOf(layer: VhdLayer, parent: VhdParent | undefined): ReadBelow {
  if (layer.kind === 'dynamic') return zeros;
  return parent === undefined ? withoutParent(layer.reader.name) : readFrom(parent);
}

function* runsOf(layer: VhdLayer, parent: VhdParent | undefined): Generator<DiskRun> {
  const { sizeBytes, blocks } = layer;
  const whole = (length: number): DiskRun[] => (length > 0 ? [{ offset: 0, length }] : []);
  if (blocks === undefined) {
    yield* whole(sizeBytes);
    return;
  }
  let below: Iterable<DiskRun> = [];
  if (parent !== undefined) {
    below = isVhd(parent) ? parent.allocatedRuns() : whole(parent.sizeBytes ?? sizeBytes);
  }
  yield* mergeRuns(tableRuns(blocks.table, sizeBytes), below, sizeBytes);
}

/** One file of a chain as a disk; `close` of the child closes them all. */
function diskOf(
  layer: VhdLayer,
  parent: VhdParent | undefined,
  abortSignal: AbortSignal | undefined,
  close: () => Promise<void>,
): VhdDisk {
  const { reader, kind, sizeBytes, footer, blocks } = layer;
  const read =
    blocks === undefined
      ? readFixed(layer)
      : bindRead(
          new BlockReader(
            reader,
            blocks.table,
            belowOf(layer, parent),
            new HiddenData({ ...blocks, reader, report: layer.report, isDynamic: kind === 'dynamic' }),
            abortSignal,
          ),
        );
  return {
    kind,
    name: reader.name,
    sizeBytes,
    footer,
    header: blocks?.header,
    parent,
    allocatedBlockCount: blocks?.table.allocatedCount,
    allocatedRuns: () => runsOf(layer, parent),
    async readInto(target, offsetBytes) {
      abortSignal?.throwIfAborted();
      const end = offsetBytes + target.length;
      if (!Number.isSafeInteger(offsetBytes) || offsetBytes < 0 || end > sizeBytes) {
        throw vhdError(reader.name, 'disk', {
          found: `the end of the disk at ${sizeBytes}`,
          expected: `bytes ${offsetBytes} to ${end}`,
        });
      }
      if (target.length > 0) await read(target, offsetBytes);
    },
    close,
  };
}

function bindRead(blocks: BlockReader): ReadBelow {
  return (target, offsetBytes) => blocks.readInto(target, offsetBytes);
}

/** From the last ancestor up to the child, each with its parent. */
function diskOfChain({ child, ancestors }: Chain, abortSignal: AbortSignal | undefined): VhdDisk {
  let below: VhdParent | undefined;
  const reversed: Ancestor[] = [...ancestors].reverse();
  const nothing = (): Promise<void> => Promise.resolve();
  for (const ancestor of reversed) {
    below = 'raw' in ancestor ? ancestor.raw : diskOf(ancestor, below, abortSignal, nothing);
  }
  let closing: Promise<void> | undefined;
  return diskOf(child, below, abortSignal, () => (closing ??= closeAncestors(ancestors)));
}

/**
 * Opens a fixed, dynamic or differencing VHD of any creator, with its parents. Footer, copy, header, BAT and parent
 * locators are read and checked (and one sector behind the BAT, where blktap keeps its batmap); the bitmaps and data of
 * blocks only when they are asked for.
 *
 * What a bit of a sector bitmap means. A sector whose bit is 0 reads as zeros from a dynamic disk and as the parent's
 * from a differencing one (VHD specification, "Data Blocks"); libvhd and XAPI read dynamic disks so, too. qemu-img 7.2
 * and vhd-lib 0.7.2 do not look at the bitmaps of dynamic disks and return what stands in the file (measured:
 * test/vhd/qemu-images.test.ts). They differ only about files that hold data under bits of 0.
 *
 * What is known of a stream (`forwardOnly`, or without a size) is the footer copy at its start: nothing is said about
 * the footer at the end, and a fixed disk cannot be told from a raw one.
 *
 * @param reader stays the caller's, and open as long as the disk is read
 * @throws PatchVdiError `image` when nothing sensible can be read: no usable footer or header, an impossible block size,
 *   a BAT outside the file, parents in a circle or too many; the reason of the signal
 */
export async function openVhd(reader: ByteReader, options: OpenVhdOptions): Promise<VhdDisk> {
  const { abortSignal, report, nowSeconds } = options;
  const reportOf =
    (generation: number, { name }: ByteReader): Report =>
    (words) => {
      const of = generation === 0 ? '' : `parent ${generation} (${printable(name)}): `;
      report({ ...words, space: 'file', structure: of + words.structure });
    };
  abortSignal?.throwIfAborted();
  const child = await readLayer(reader, reportOf(0, reader), nowSeconds);
  const chain = await openChain(child, { ...options, reportOf });
  return diskOfChain(chain, abortSignal);
}
