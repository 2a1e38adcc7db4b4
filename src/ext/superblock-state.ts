import type { ReportFinding } from '../findings.js';
import { printable } from './corrupt.js';
import { unnamed, type FeatureNames } from './features.js';
import { REVISION_ORIGINAL } from './superblock-values.js';
import type { RecordedError, SuperblockFacts } from './superblock-facts.js';
import { fieldFinding } from './superblock-field.js';

function describeError(what: string, error: RecordedError | undefined): string {
  if (error === undefined) return '';
  const time = error.timeSeconds === undefined ? '' : ` at ${error.timeSeconds} s`;
  return `; ${what}${time} in ${printable(error.functionName)}:${error.line}`;
}

/** Reports what a superblock says of its own health: warnings all, for the content can be read as it stands. */
export function reportState(facts: SuperblockFacts, report: ReportFinding): void {
  const { state } = facts;
  if (facts.needsRecovery) {
    const expected = 'no journal to play back: the data is read as it stands';
    report(
      fieldFinding('warning', 'journal-needs-recovery', 's_feature_incompat', 'needs_recovery', expected),
    );
  }
  // A kernel with a journal leaves the mark of a clean file system alone.
  if (!state.clean) {
    report(fieldFinding('warning', 'not-clean', 's_state', 'not clean', 'clean, as after an unmount'));
  }
  if (state.errors || facts.errorCount > 0) {
    const found =
      `${facts.errorCount} errors` +
      describeError('first', facts.firstError) +
      describeError('last', facts.lastError);
    report(fieldFinding('warning', 'has-errors', 's_state', found, 'none that the kernel met'));
  }
  if (facts.firstOrphanInode !== 0 || facts.orphansPresent || state.orphans) {
    const found = facts.firstOrphanInode === 0 ? 'some' : `a list from inode ${facts.firstOrphanInode} on`;
    report(fieldFinding('warning', 'orphan-inodes', 's_last_orphan', found, 'no removed but open files'));
  }
}

/** Reports features that nobody has named yet, but that leave reading alone. */
export function reportFeatures(names: FeatureNames, revision: number, report: ReportFinding): void {
  const compatible = unnamed(names.compat);
  if (compatible.length > 0) {
    const found = compatible.join(', ');
    report(
      fieldFinding('warning', 'unknown-compatible-feature', 's_feature_compat', found, 'known features'),
    );
  }
  const readOnly = unnamed(names.roCompat);
  if (readOnly.length > 0) {
    const found = readOnly.join(', ');
    report(
      fieldFinding('warning', 'unknown-read-only-feature', 's_feature_ro_compat', found, 'known features'),
    );
  }
  const all = [...names.compat, ...names.incompat, ...names.roCompat];
  if (revision === REVISION_ORIGINAL && all.length > 0) {
    const expected = 'none in revision 0';
    report(
      fieldFinding('warning', 'features-in-revision-0', 's_rev_level', printable(all.join(', ')), expected),
    );
  }
}
