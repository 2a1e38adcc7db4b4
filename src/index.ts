/**
 * patch-vdi as a library. Everything else is private.
 *
 * @packageDocumentation
 */
export { buildPatchImage, type BuildResult } from './build/build-image.js';
export { planPatchImage, type PlanOptions } from './build/plan-image.js';
export type {
  BuildOptions,
  ImageOptions,
  PathSink,
  Progress,
  SinkOption,
  SourceOption,
  UploadOptions,
  VerifyOption,
} from './build/options.js';
export type { IdentityRequest } from './build/identity.js';
export {
  PatchVdiError,
  isPatchVdiError,
  type ErrorContext,
  type ErrorDetails,
  type ErrorKind,
} from './errors.js';
export { describePlan, planRows, planTotals, type PlanRow } from './plan/describe.js';
export type { ByteReader } from './bytes.js';
export type { Extent } from './ext/file-extents.js';
export type { FilePiece } from './ext/file-pieces.js';
export type { InodeFacts } from './ext/inode-facts.js';
export type { WalkedEntry } from './ext/paths.js';
export type { Superblock } from './ext/superblock.js';
export type { Finding } from './findings.js';
export {
  applyPatch,
  precheckPatch,
  sweepHost,
  type ApplyOptions,
  type SweepOptions,
  type Swept,
} from './host/apply-patch.js';
export type { UnfinishedApply } from './host/applied-folder.js';
export type { HostLimits } from './host/limits.js';
export type {
  HostPhase,
  HostProgress,
  MountedPatchOptions,
  PatchIdentity,
  RawCopy,
} from './host/mounted-patch.js';
export type { ApplyOutcome, PrecheckOutcome } from './host/outcome.js';
export type { PrecheckFailure } from './host/precheck-document.js';
export { printRecipe, type RecipeRequest } from './host/recipe.js';
export { compareImages, type CompareOptions, type Comparison } from './inspect/compare.js';
export type { Difference } from './inspect/differences.js';
export { mapDisk, type DiskMap, type MapCell, type MapKind } from './inspect/disk-map.js';
export { drawSvg, type SvgWords } from './inspect/draw-svg.js';
export { drawText, type Paint } from './inspect/draw-text.js';
export {
  extractFile,
  type ExtractOptions,
  type ExtractOutput,
  type ExtractResult,
} from './inspect/extract.js';
export type { FilesystemReport } from './inspect/filesystem-report.js';
export type { ImageFile } from './inspect/image-file.js';
export type { ImageFilesystem } from './inspect/image-filesystem.js';
export type { Image, OpenedFormat } from './inspect/image.js';
export { openImage, type OpenImageOptions } from './inspect/open-image.js';
export type { PatchLayout, PatchReport } from './inspect/patch-report.js';
export { inspectImage, type InspectOptions, type InspectReport } from './inspect/report.js';
export { verifyImage, type VerifyImageOptions, type VerifyReport } from './inspect/verify-image.js';
export type { VhdReport } from './inspect/vhd-report.js';
export type { HttpHeaders } from './io/http.js';
export type { ReaderPlace } from './io/open-reader.js';
export type { ImageFormat, Plan } from './plan/plan.js';
export type { PlanEntry, PlanSegments, SegmentContent, SegmentDraft, Turn } from './plan/segment-list.js';
export type { SignaturePolicy } from './signature/policy.js';
export type { UploadLook } from './signature/look.js';
export type { VerifiedSignature } from './signature/verdict.js';
export type { ToolEnvironment } from './tools/find.js';
export type { FilesystemName } from './tools/mke2fs.js';
