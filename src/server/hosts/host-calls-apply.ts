import * as v from 'valibot';
import { GUIDANCE } from '../../pool/info-document.js';
import { KIB, MIB } from '../../units.js';
import { bytesSchema, hex256Schema, internalCall, longCall, uuidSchema } from './internal-call.js';

/*
 * What the master asks of a slave that is to apply patches: `src/pool/host-side.ts` over the wire. Everything that comes
 * back is the slave's word, and bounded.
 */

/** A patch's output is at most 1 MiB (`src/host/limits.ts`), and a line of ours. */
const outputSchema = v.pipe(v.string(), v.maxLength(MIB + KIB));
const fieldSchema = v.pipe(v.string(), v.maxLength(4 * KIB));
const beganAtSchema = v.pipe(
  v.string(),
  v.regex(/^(?:\d{4}-\d\d-\d\dT[\d:.]{8,16}Z|unknown)$/, 'a time of ISO 8601'),
);

/** Patches that were applied to one host; more are a mistake. */
const MAX_PATCHES = 1000;
const MAX_PREREQUISITES = 1000;
/** The last millisecond of the year 9999, which a record can say. */
const MAX_MILLISECONDS = 253_402_300_799_999;

function texts(expected: string, maxLength: number, isText: (text: string) => boolean) {
  const check = (value: unknown): boolean =>
    Array.isArray(value) &&
    value.length <= maxLength &&
    value.every((text: unknown) => typeof text === 'string' && isText(text));
  return v.custom<readonly string[]>(check, expected);
}

const infoSchema = v.strictObject({
  uuid: uuidSchema,
  version: fieldSchema,
  nameLabel: fieldSchema,
  nameDescription: fieldSchema,
  afterApplyGuidance: texts('guidance', GUIDANCE.size, (word) => GUIDANCE.has(word)),
});

const requestEntries = {
  /** Random: what {@link HOST_STOP} calls it. */
  call: uuidSchema,
  patch: v.strictObject({
    uuid: uuidSchema,
    sizeBytes: bytesSchema,
    sha256: v.union([hex256Schema, v.literal('')]),
  }),
  source: v.variant('kind', [
    v.strictObject({ kind: v.literal('vdi'), repositoryUuid: uuidSchema, vdiUuid: uuidSchema }),
    v.strictObject({ kind: v.literal('file') }),
  ]),
};

const stepSchema = v.strictObject({
  phase: v.picklist(['fetch', 'copy', 'check', 'mount', 'verify', 'info', 'precheck', 'apply', 'clean up']),
  fraction: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
});

const foundSchema = { found: fieldSchema, required: fieldSchema };

const failureSchema = v.variant('code', [
  v.strictObject({ code: v.literal('UNKNOWN_ERROR'), info: outputSchema }),
  v.strictObject({ code: v.literal('ISO_MOUNTED'), info: outputSchema }),
  v.strictObject({
    code: v.literal('PREREQUISITE_MISSING'),
    uuids: texts('prerequisites', MAX_PREREQUISITES, ({ length }) => length <= 4 * KIB),
  }),
  v.strictObject({ code: v.literal('WRONG_SERVER_VERSION'), ...foundSchema }),
  v.strictObject({ code: v.literal('WRONG_SERVER_BUILD'), ...foundSchema }),
  v.strictObject({ code: v.literal('OUT_OF_SPACE'), ...foundSchema }),
  v.strictObject({ code: v.literal('VM_RUNNING') }),
]);

const precheckFailedSchema = v.strictObject({
  kind: v.literal('precheckFailed'),
  failure: failureSchema,
  output: outputSchema,
});

const endingSchema = v.variant('kind', [
  v.strictObject({
    kind: v.literal('exit'),
    exitCode: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(255)),
  }),
  v.strictObject({ kind: v.literal('signal'), signal: v.pipe(v.string(), v.regex(/^[A-Za-z0-9]{1,16}$/)) }),
  v.strictObject({ kind: v.literal('timeout') }),
  v.strictObject({ kind: v.literal('lost'), words: fieldSchema }),
]);

export const HOST_PRECHECK = longCall(
  'host.precheck',
  v.strictObject(requestEntries),
  v.variant('kind', [
    v.strictObject({ kind: v.literal('precheckPassed'), output: outputSchema }),
    precheckFailedSchema,
  ]),
  stepSchema,
);

export const HOST_APPLY = longCall(
  'host.apply',
  v.strictObject({ ...requestEntries, again: v.boolean() }),
  v.variant('kind', [
    v.strictObject({ kind: v.literal('applied'), info: infoSchema, output: outputSchema }),
    precheckFailedSchema,
    v.strictObject({ kind: v.literal('applyFailed'), ending: endingSchema, output: outputSchema }),
    v.strictObject({ kind: v.literal('alreadyApplied'), info: infoSchema }),
    v.strictObject({ kind: v.literal('beingApplied') }),
    v.strictObject({ kind: v.literal('halfApplied'), beganAt: beganAtSchema }),
  ]),
  stepSchema,
);

/**
 * Ends a precheck, or an apply whose patch does not run yet; its call then says how it ended. Breaking the connection of
 * the call instead would leave open whether the patch has run.
 */
export const HOST_STOP = internalCall(
  'host.stop',
  v.strictObject({ call: uuidSchema }),
  /** False: there is no such call, or not yet. */
  v.strictObject({ found: v.boolean() }),
);

export const HOST_APPLIED = internalCall(
  'host.applied',
  v.strictObject({}),
  v.pipe(
    v.array(
      v.strictObject({
        uuid: uuidSchema,
        info: v.optional(infoSchema),
        appliedAt: v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_MILLISECONDS)),
      }),
    ),
    v.maxLength(MAX_PATCHES),
  ),
);

export const HOST_SWEEP = internalCall(
  'host.sweep',
  v.strictObject({}),
  v.strictObject({
    unfinished: v.pipe(
      v.array(v.strictObject({ uuid: uuidSchema, beganAt: beganAtSchema })),
      v.maxLength(MAX_PATCHES),
    ),
  }),
);

export const HOST_ABLE = internalCall(
  'host.able',
  v.strictObject({}),
  /** Whether it applies a patch now: also one that its master, or the way to it, was lost for. */
  v.strictObject({ applying: v.boolean() }),
);
