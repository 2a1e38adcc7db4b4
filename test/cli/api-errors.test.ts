import { describe, expect, test } from 'vitest';
import { KNOWN_CODES, isPatchAnswer, translateApiError } from '../../src/cli/api-errors.js';
import { errorLines } from '../../src/cli/report-error.js';
import { PatchVdiError } from '../../src/errors.js';
import { XenApiError } from '../../src/xenapi/xen-api-error.js';

/** From the list of facts on the XenAPI, by hand: the codes that a pool may answer with, and how many parameters. */
const CODES: readonly (readonly [code: string, parameters: readonly string[], exitCode: number])[] = [
  ['CANNOT_FETCH_PATCH', ['uuid'], 8],
  ['CANNOT_FIND_PATCH', [], 8],
  ['HANDLE_INVALID', ['VDI', 'OpaqueRef:x'], 2],
  ['HOST_HAS_NO_PATCH_SR', ['host'], 8],
  ['HOST_IS_SLAVE', ['10.0.0.1'], 8],
  ['HOST_OFFLINE', ['host'], 8],
  ['INTERNAL_ERROR', ['message'], 8],
  ['INVALID_PATCH', [], 3],
  ['INVALID_PATCH_WITH_LOG', ['log'], 4],
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
  ['UUID_INVALID', ['pool_patch', 'uuid'], 2],
  ['VDI_IO_ERROR', ['Device I/O errors'], 8],
  ['VDI_MISSING', ['sr', 'vdi'], 8],
];

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
    // All but the two that speak for themselves say what to do.
    const plain = ['MESSAGE_DEPRECATED', 'PATCH_ALREADY_APPLIED', 'PATCH_ALREADY_EXISTS'];
    expect(error.hint === undefined).toBe(plain.includes(code));
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
