import type { FindingCode } from '../finding-codes.js';
import type { Finding, ReportFinding } from '../findings.js';
import { FindingCap } from './finding-cap.js';
import {
  descriptorBlocksTogether,
  descriptorRuns,
  descriptorsPerBlock,
  groupHead,
  type BlockRun,
} from './group-head.js';
import { countFault, type DescriptorFault } from './group-faults.js';
import type { GroupTable } from './groups.js';
import type { Superblock } from './superblock.js';

/** Where descriptors are, in bytes, asked for in ascending order. */
class DescriptorOffsets {
  readonly #superblock: Superblock;
  readonly #runs: Iterator<BlockRun>;
  #run: BlockRun = { firstBlock: 0, blockCount: 0 };
  #firstIndex = 0;

  constructor(superblock: Superblock) {
    this.#superblock = superblock;
    this.#runs = descriptorRuns(superblock);
  }

  of(group: number): number {
    const perBlock = descriptorsPerBlock(this.#superblock);
    const block = Math.floor(group / perBlock);
    while (block >= this.#firstIndex + this.#run.blockCount) {
      this.#firstIndex += this.#run.blockCount;
      const next = this.#runs.next();
      if (next.done === true) break;
      this.#run = next.value;
    }
    const { blockBytes, descriptorBytes } = this.#superblock;
    const fsBlock = this.#run.firstBlock + (block - this.#firstIndex);
    return fsBlock * blockBytes + (group % perBlock) * descriptorBytes;
  }
}

/** The descriptors behind the first superblock must leave room for more in group 0. */
function reportTable(superblock: Superblock, report: ReportFinding): void {
  const { blocksPerGroup, blockBytes, groupCount } = superblock;
  const head = groupHead(superblock, 0);
  if (groupCount === 1 || head.endBlock <= superblock.firstDataBlock + blocksPerGroup) return;
  report({
    code: 'descriptors-overlap',
    severity: 'error',
    structure: 'group descriptors',
    space: 'disk',
    offset: head.descriptors.firstBlock * blockBytes,
    found: `${descriptorBlocksTogether(superblock)} blocks, and ${superblock.reservedDescriptorBlocks} reserved`,
    expected: `fewer than the ${blocksPerGroup} blocks of a group`,
  });
}

/**
 * Checks every descriptor: its checksum, where what it names is, and its counts. One finding a group, and for a disk
 * full of damage not more than a screen of them.
 */
export function checkGroups(superblock: Superblock, groups: GroupTable, report: ReportFinding): void {
  reportTable(superblock, report);
  const cap = new FindingCap(report);
  const offsets = new DescriptorOffsets(superblock);
  const tell = (index: number, code: FindingCode, { found, expected }: DescriptorFault): void => {
    const finding: Finding = {
      code,
      severity: 'error',
      structure: `group descriptor ${index}`,
      space: 'disk',
      offset: offsets.of(index),
      found,
      expected,
    };
    cap.report(finding);
  };
  for (let index = 0; index < groups.length; index += 1) {
    const group = groups.decode(index);
    if (group === undefined) continue;
    // A wrong checksum is the cause of whatever else is wrong.
    const checksum = groups.checksumFault(index);
    const place = groups.placeFault(group);
    const counts = countFault(superblock, group);
    if (checksum !== undefined) tell(index, 'group-descriptor-checksum', checksum);
    else if (place !== undefined) tell(index, 'group-descriptor-blocks', place);
    else if (counts !== undefined) tell(index, 'group-descriptor-counts', counts);
  }
  cap.finish();
}
