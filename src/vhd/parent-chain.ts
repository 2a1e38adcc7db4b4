import type { ByteReader } from '../bytes.js';
import { isPatchVdiError } from '../errors.js';
import { looksLikeVhd } from './find-footer.js';
import { VHD_EPOCH_SECONDS, dynamicDiskHeader } from './layout.js';
import { describePaths, parentPaths } from './parent-locators.js';
import { readLayer, type VhdLayer } from './read-layer.js';
import type { OpenVhdOptions } from './vhd-disk.js';
import { describeId, printable, vhdError, type FindingWords, type Report } from './words.js';

/** blktap allows 30 (MAX_CHAIN_DEPTH); pools keep chains far shorter, because each file of a chain slows every read. */
const MAX_GENERATIONS = 16;

/** A file of a chain, from the child to the last ancestor that could be opened. */
export type Ancestor = VhdLayer | { readonly raw: ByteReader };

export interface Chain {
  readonly child: VhdLayer;
  /** Parent first. */
  readonly ancestors: readonly Ancestor[];
  /** Whether the last of them needs a parent that is not there; its finding was reported. */
  readonly isBroken: boolean;
}

interface Opening extends OpenVhdOptions {
  readonly reportOf: (generation: number, reader: ByteReader) => Report;
}

function isNull(id: Uint8Array): boolean {
  return id.every((byte) => byte === 0);
}

/** Rejects with the reason of the signal, not with whatever the abortion broke. */
async function unlessAborted<T>(work: Promise<T>, abortSignal: AbortSignal | undefined): Promise<T> {
  try {
    return await work;
  } finally {
    abortSignal?.throwIfAborted();
  }
}

/** What stood at one of the paths, if it was not the parent. */
interface Refusal {
  readonly code: 'vhd-parent-missing' | 'vhd-parent-mismatch' | 'vhd-parent-unreadable';
  readonly found: string;
}

/** More telling ones later. */
const TELLING: ReadonlyArray<Refusal['code']> = [
  'vhd-parent-missing',
  'vhd-parent-mismatch',
  'vhd-parent-unreadable',
];

function messageOf(error: unknown): string {
  if (isPatchVdiError(error)) return printable(error.context.found ?? error.message);
  return printable(error instanceof Error ? error.message : String(error));
}

/** The parent at `path`; else the reason why it is not there. What is refused is closed. */
async function tryPath(
  path: string,
  wanted: Uint8Array,
  options: Opening,
): Promise<{ ancestor: Ancestor; words: FindingWords[] } | Refusal> {
  const { openParent, abortSignal } = options;
  if (openParent === undefined)
    return { code: 'vhd-parent-missing', found: 'nobody to open the parent with' };
  let reader: ByteReader;
  try {
    reader = await unlessAborted(openParent(path), abortSignal);
  } catch (error) {
    abortSignal?.throwIfAborted();
    return { code: 'vhd-parent-missing', found: messageOf(error) };
  }
  try {
    // blktap marks a raw parent so (vhd_parent_raw): nothing tells whether it is the right one.
    if (isNull(wanted)) return { ancestor: { raw: reader }, words: [] };
    const found = await openVhdParent(reader, wanted, options);
    if ('code' in found) await reader.close();
    return found;
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function openVhdParent(
  reader: ByteReader,
  wanted: Uint8Array,
  options: Opening,
): Promise<{ ancestor: Ancestor; words: FindingWords[] } | Refusal> {
  // Findings of a file that turns out to be another one are nobody's business.
  const words: FindingWords[] = [];
  try {
    if (!(await unlessAborted(looksLikeVhd(reader), options.abortSignal))) {
      return { code: 'vhd-parent-mismatch', found: `${printable(reader.name)}, which is no VHD` };
    }
    const work = readLayer(reader, (finding) => words.push(finding), options.nowSeconds);
    const ancestor = await unlessAborted(work, options.abortSignal);
    const { uniqueId } = ancestor.footer;
    if (Buffer.from(uniqueId).equals(wanted)) return { ancestor, words };
    return {
      code: 'vhd-parent-mismatch',
      found: `${printable(reader.name)} with unique_id ${describeId(uniqueId)}`,
    };
  } catch (error) {
    options.abortSignal?.throwIfAborted();
    if (!isPatchVdiError(error)) throw error;
    return {
      code: 'vhd-parent-unreadable',
      found: `${printable(reader.name)}: ${messageOf(error)}`,
    };
  }
}

/** Tries the paths one after the other; undefined, and reported, when the parent is at none of them. */
async function findParent(
  child: VhdLayer,
  report: Report,
  generation: number,
  options: Opening,
): Promise<Ancestor | undefined> {
  if (child.blocks === undefined) return undefined;
  const { header } = child.blocks;
  const wanted = header.parentUniqueId;
  const paths = parentPaths(child.reader.name, header.parentLocators, header.parentUnicodeName);
  let refusal: Refusal = { code: 'vhd-parent-missing', found: 'no path that leads to it' };
  for (const path of paths) {
    const result = await tryPath(path, wanted, options);
    if (!('code' in result)) {
      const { ancestor, words } = result;
      const ofParent = options.reportOf(generation, 'raw' in ancestor ? ancestor.raw : ancestor.reader);
      for (const one of words) ofParent(one);
      if ('raw' in ancestor) return ancestor;
      checkParentTime(child, ancestor, report);
      return { ...ancestor, report: ofParent };
    }
    if (TELLING.indexOf(result.code) >= TELLING.indexOf(refusal.code)) refusal = result;
  }
  report({
    ...refusal,
    severity: 'error',
    structure: 'parent',
    offset: child.blocks.headerOffset + dynamicDiskHeader.rows.parent_unique_id[0],
    expected: `${isNull(wanted) ? 'a raw disk' : `unique_id ${describeId(wanted)}`} at ${describePaths(paths)}`,
  });
  return undefined;
}

/**
 * `parent_time_stamp` is when the parent's *file* was last modified (blktap takes it from the file system), which no
 * footer says; all that can be seen is that a parent was made after its child was tied to it.
 */
function checkParentTime(child: VhdLayer, parent: VhdLayer, report: Report): void {
  if (child.blocks === undefined) return;
  const { header, headerOffset } = child.blocks;
  const { parentCreatedSeconds } = header;
  const { createdSeconds } = parent.footer;
  const isUnset = parentCreatedSeconds === VHD_EPOCH_SECONDS;
  if (isUnset || parentCreatedSeconds >= createdSeconds) return;
  report({
    code: 'vhd-parent-time',
    severity: 'warning',
    structure: 'dynamic disk header',
    offset: headerOffset + dynamicDiskHeader.rows.parent_time_stamp[0],
    found: `parent_time_stamp ${parentCreatedSeconds - VHD_EPOCH_SECONDS}`,
    expected: `${createdSeconds - VHD_EPOCH_SECONDS} or later, when the parent was created`,
  });
}

/** An id that comes twice in a chain is a circle, or would be one for every reader that goes by ids. */
function refuseCircle(layers: readonly VhdLayer[], next: VhdLayer): void {
  const { uniqueId } = next.footer;
  if (isNull(uniqueId)) return;
  const twin = layers.find(({ footer }) => Buffer.from(footer.uniqueId).equals(uniqueId));
  if (twin === undefined) return;
  throw vhdError(next.reader.name, 'chain of parents', {
    found: `unique_id ${describeId(uniqueId)} also in ${printable(twin.reader.name)}, a descendant of it`,
    expected: 'each disk once',
  });
}

/**
 * Opens the parents of a layer, theirs, and so on. A parent that cannot be opened is a finding and ends the chain.
 *
 * @throws PatchVdiError `image` for a circle, or more than 16 generations; the reason of the signal. Then all parents
 *   are closed
 */
export async function openChain(child: VhdLayer, options: Opening): Promise<Chain> {
  const layers: VhdLayer[] = [child];
  const ancestors: Ancestor[] = [];
  try {
    for (let layer = child; layer.kind === 'differencing';) {
      if (layers.length === MAX_GENERATIONS) {
        throw vhdError(child.reader.name, 'chain of parents', {
          found: `more than ${MAX_GENERATIONS} generations`,
          expected: `at most ${MAX_GENERATIONS}`,
        });
      }
      const generation = layers.length;
      const report = options.reportOf(generation - 1, layer.reader);
      const parent = await findParent(layer, report, generation, options);
      if (parent === undefined) return { child, ancestors, isBroken: true };
      ancestors.push(parent);
      if ('raw' in parent) break;
      refuseCircle(layers, parent);
      layers.push(parent);
      layer = parent;
    }
    return { child, ancestors, isBroken: false };
  } catch (error) {
    await closeAncestors(ancestors);
    throw error;
  }
}

export async function closeAncestors(ancestors: readonly Ancestor[]): Promise<void> {
  for (const ancestor of ancestors) {
    await ('raw' in ancestor ? ancestor.raw : ancestor.reader).close();
  }
}
