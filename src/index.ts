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
export type { HttpHeaders } from './io/http.js';
export type { ImageFormat, Plan } from './plan/plan.js';
export type { PlanEntry, PlanSegments, SegmentContent, SegmentDraft, Turn } from './plan/segment-list.js';
export type { SignaturePolicy } from './signature/policy.js';
export type { VerifiedSignature } from './signature/verdict.js';
export type { ToolEnvironment } from './tools/find.js';
export type { FilesystemName } from './tools/mke2fs.js';
