import { describe, expect, test } from 'vitest';
import { KNOWN_CODES, isPatchAnswer, translateApiError } from '../../src/cli/api-errors.js';
import { errorLines } from '../../src/cli/report-error.js';
import { PatchVdiError } from '../../src/errors.js';
import { XenApiError } from '../../src/xenapi/xen-api-error.js';

/** From the list of facts on the XenAPI, by hand: the codes that a pool may answer with, and how many parameters. */
const CODES: readonly (readonly [code: string, parameters: readonly string[], exitCode: number])[] = [
  ['CANNOT_FETCH_PATCH', ['uuid'], 8],
  ['CANNOT_FIND_PATCH', [], 8],
  ['FIELD_TYPE_ERROR', ['other_config'], 8],
  ['HANDLE_INVALID', ['VDI', 'OpaqueRef:x'], 2],
  ['HOST_HAS_NO_PATCH_SR', ['host'], 8],
  ['HOST_IS_SLAVE', ['10.0.0.1'], 8],
  ['HOST_OFFLINE', ['host'], 8],
  ['INTERNAL_ERROR', ['message'], 8],
  ['INVALID_PATCH', [], 3],
  ['INVALID_PATCH_WITH_LOG', ['log'], 4],
  ['MAP_DUPLICATE_KEY', ['pool_patch', 'other_config', 'ref', 'key'], 8],
  ['MESSAGE_DEPRECATED', ['message'], 8],
  ['MESSAGE_METHOD_UNKNOWN', ['pool_patch.fly'], 8],
  ['MESSAGE_PARAMETER_COUNT_MISMATCH', ['m', '2', '3'], 8],
  ['OPERATION_NOT_ALLOWED', ['the VDI holds a patch'], 8],
  ['OTHER_OPERATION_IN_PROGRESS', ['VDI', 'OpaqueRef:x'], 8],
  ['OUT_OF_SPACE', ['Local storage'], 5],
  ['PATCH_ALREADY_APPLIED', ['patch'], 8],
  ['PATCH_ALREADY_EXISTS', ['uuid'], 8],
  ['PATCH_APPLY_FAILED', ['output'], 7],
  ['PATCH_IS_APPLIED', [], 8],
  ['PATCH_PRECHECK_FAILED_ISO_MOUNTED', ['patch'], 8],
  ['PATCH_PRECHECK_FAILED_OUT_OF_SPACE', ['patch', '1', '2'], 8],
  ['PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING', ['patch', 'a;b'], 8],
  ['PATCH_PRECHECK_FAILED_UNKNOWN_ERROR', ['patch', 'info'], 8],
  ['PATCH_PRECHECK_FAILED_VM_RUNNING', ['patch'], 8],
  ['PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD', ['patch', '1', '2'], 8],
  ['PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION', ['patch', '1', '2'], 8],
  ['RBAC_PERMISSION_DENIED', ['permission', 'message'], 8],
  ['SESSION_AUTHENTICATION_FAILED', [], 8],
  ['SESSION_INVALID', ['***'], 8],
  ['SR_FULL', ['1', '2'], 5],
  ['SR_BACKEND_FAILURE', ['pool', 'the pool is away', ''], 8],
  ['SR_BACKEND_FAILURE_44', ['', 'There is insufficient space'], 5],
  ['SR_HAS_NO_PBDS', ['sr'], 8],
  ['TASK_CANCELLED', ['OpaqueRef:x'], 8],
  ['UUID_INVALID', ['pool_patch', 'uuid'], 2],
  ['VALUE_NOT_SUPPORTED', ['sharable', 'x', 'why'], 2],
  ['VDI_IN_USE', ['OpaqueRef:x', 'destroy'], 8],
  ['VDI_IO_ERROR', ['Device I/O errors'], 8],
  ['VDI_MISSING', ['sr', 'vdi'], 8],
];

/** By hand: what has happened, and the words without which nobody knows what to do. */
const WORDS: Readonly<Record<string, readonly [message: string, ...toDo: string[]]>> = {
  CANNOT_FETCH_PATCH: ['could not be fetched', 'upload the patch again'],
  CANNOT_FIND_PATCH: ['no bytes of that patch', 'upload the patch again'],
  FIELD_TYPE_ERROR: ['another type of value as other_config', 'another version'],
  HANDLE_INVALID: ['no such VDI', 'list again'],
  HOST_HAS_NO_PATCH_SR: ['no storage repository for patches', 'default SR', '--sr'],
  HOST_IS_SLAVE: ['a slave of the pool', '--url https://10.0.0.1'],
  HOST_OFFLINE: ['cannot be reached by its master', 'start its server'],
  INTERNAL_ERROR: ['went wrong inside the server', 'log', 'run it again'],
  INVALID_PATCH: ['does not accept the patch', 'patch-vdi build FILE --keyring KEYS'],
  INVALID_PATCH_WITH_LOG: ['does not say what it is', 'info document'],
  MAP_DUPLICATE_KEY: ['that key is there already', 'run it again'],
  MESSAGE_DEPRECATED: ['not offer that any more', 'patch-vdi upload'],
  MESSAGE_METHOD_UNKNOWN: ['does not know the call pool_patch.fly', 'XenServer'],
  MESSAGE_PARAMETER_COUNT_MISMATCH: ['other parameters for m', 'another version'],
  OPERATION_NOT_ALLOWED: ['does not allow that', '--again'],
  OTHER_OPERATION_IN_PROGRESS: ['being done with that VDI', 'patch-vdi pool tasks', 'wait'],
  OUT_OF_SPACE: ['not enough space on the server: Local storage', 'patch-vdi pool srs', '--sr'],
  PATCH_ALREADY_APPLIED: ['has the patch already', 'nothing needs to be done'],
  PATCH_ALREADY_EXISTS: ['the pool has that patch already', 'patch-vdi pool patches'],
  PATCH_APPLY_FAILED: ['failed while it was being applied', 'what it has printed is above'],
  PATCH_IS_APPLIED: ['is applied to a host', 'patch-vdi pool vdi-destroy'],
  PATCH_PRECHECK_FAILED_ISO_MOUNTED: ['an ISO is mounted', 'eject it'],
  PATCH_PRECHECK_FAILED_OUT_OF_SPACE: ['the host has not enough space', 'free some space on the host'],
  PATCH_PRECHECK_FAILED_PREREQUISITE_MISSING: ['needs other patches first', 'apply the ones'],
  PATCH_PRECHECK_FAILED_UNKNOWN_ERROR: ['does not say why', 'log'],
  PATCH_PRECHECK_FAILED_VM_RUNNING: ['VMs are running', 'move them, or shut them down'],
  PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD: ['another build of the host', 'take the right one'],
  PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION: ['another version of the host', 'take the right one'],
  RBAC_PERMISSION_DENIED: ['root may not do that: permission', '--user'],
  SESSION_AUTHENTICATION_FAILED: ['name or password is wrong', '--user', '--password-file'],
  SESSION_INVALID: ['the session has ended', 'run the command again'],
  SR_BACKEND_FAILURE: ['the storage behind that server failed: the pool is away', 'log'],
  SR_BACKEND_FAILURE_44: ['not enough space', 'patch-vdi pool srs', '--sr'],
  SR_FULL: ['the storage repository is full', 'patch-vdi pool srs', '--sr'],
  SR_HAS_NO_PBDS: ['cannot reach that storage repository', 'mount it there'],
  TASK_CANCELLED: ['cancelled the task', 'run the command again'],
  UUID_INVALID: ['no pool_patch of that uuid', 'list again'],
  VALUE_NOT_SUPPORTED: ['does not take that value as sharable', 'another version'],
  VDI_IN_USE: ['the VDI is in use', 'detach it from the VM or host that has it'],
  VDI_IO_ERROR: ["the server's storage failed", 'log'],
  VDI_MISSING: ['gone from its storage repository', 'patch-vdi pool vdi-destroy', 'upload the patch again'],
};

/** Exit codes of kinds, as the README documents them. */
const KIND_OF_EXIT: Readonly<Record<number, string>> = {
  2: 'usage',
  3: 'signature',
  4: 'upload',
  5: 'space',
  7: 'tool',
  8: 'sink',
};

const SCENE = { server: 'https://xcp1:8443', user: 'root' };

function translated(code: string, parameters: readonly string[]): PatchVdiError {
  const error = translateApiError(new XenApiError('some.call', code, parameters), SCENE);
  if (error instanceof PatchVdiError) return error;
  throw new Error('no error of ours');
}

describe('an error of the XenAPI', () => {
  test.for(CODES)('%s has words, what was found, and what to do', ([code, parameters, exitCode]) => {
    expect(KNOWN_CODES).toContain(code);
    const error = translated(code, parameters);
    expect(error.kind).toBe(KIND_OF_EXIT[exitCode]);
    expect(error.message).not.toContain(code);
    expect(error.context).toMatchObject({ operation: 'some.call', path: SCENE.server });
    for (const word of [code, ...parameters]) expect(error.context.found).toContain(word);
    expect(error.leftBehind).not.toContain('mountable');
    const lines = errorLines(error, exitCode, 80);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  });

  test.for(CODES)('%s says what to do', ([code, parameters]) => {
    const [message, ...toDo] = WORDS[code] ?? [];
    const error = translated(code, parameters);
    expect(error.message).toContain(message);
    expect(toDo.length).toBeGreaterThan(0);
    for (const words of toDo) expect(error.hint).toContain(words);
  });

  test('has its words here, each of them, and no other', () => {
    expect(Object.keys(WORDS).toSorted()).toEqual([...KNOWN_CODES].toSorted());
    expect(CODES.map(([code]) => code).toSorted()).toEqual([...KNOWN_CODES].toSorted());
  });

  test.for(CODES)('%s: only a patch that does not want to be applied is an answer', ([code, parameters]) => {
    const answers = code === 'PATCH_ALREADY_APPLIED' || code.startsWith('PATCH_PRECHECK_FAILED_');
    expect(isPatchAnswer(translated(code, parameters))).toBe(answers);
  });

  test('tells a long reason once', () => {
    const { message, context } = translated('OPERATION_NOT_ALLOWED', ['the VDI holds a patch']);
    expect([message, context.found]).toEqual([
      'the server does not allow that',
      'OPERATION_NOT_ALLOWED (the VDI holds a patch)',
    ]);
  });

  test('of another kind keeps its code', () => {
    expect(translated('SOMETHING_NEW', ['x'])).toMatchObject({
      kind: 'sink',
      message: 'the server refuses that',
      context: { found: 'SOMETHING_NEW (x)' },
    });
  });

  test('called like a property of objects is one of another kind', () => {
    expect(translated('CONSTRUCTOR', []).message).toBe('the server refuses that');
    expect(translated('constructor', []).message).toBe('the server refuses that');
  });

  test('without its parameters, or with hostile ones, has words nevertheless', () => {
    for (const [code] of CODES) {
      expect(translated(code, []).message).not.toContain('undefined');
      const hostile = translated(code, ['\u001b[2J', '\r\n', 'x'.repeat(100_000)]);
      expect(hostile.message + hostile.hint + hostile.context.found).not.toMatch(/\p{Cc}/u);
      expect((hostile.context.found ?? '').length).toBeLessThan(1000);
    }
  });

  test('other errors stay what they are', () => {
    const error = new Error('x');
    expect(translateApiError(error, SCENE)).toBe(error);
  });
});
