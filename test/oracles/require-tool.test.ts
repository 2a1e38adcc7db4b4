import { afterEach, expect, test, vi } from 'vitest';
import { requireRoot, requireTool, type Skippable } from './require-tool.js';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** A context that remembers why it was skipped, and stops the test as vitest's does. */
function recordingContext(): { context: Skippable; reasons: string[] } {
  const reasons: string[] = [];
  const skip = (reason?: unknown): never => {
    reasons.push(String(reason));
    throw new Error('skipped');
  };
  return { context: { skip }, reasons };
}

test('a missing judge is a failure where judges are obligatory', () => {
  vi.stubEnv('CI', 'true');
  const { context, reasons } = recordingContext();
  expect(() => requireTool(context, 'no-such-judge')).toThrow(
    /no-such-judge is not installed .* nothing may be skipped/,
  );
  expect(reasons).toEqual([]);
});

test('elsewhere it skips the test and says so', () => {
  vi.stubEnv('CI', '');
  const said = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const { context, reasons } = recordingContext();
  expect(() => requireTool(context, 'sh', 'no-such-judge')).toThrow('skipped');
  expect(reasons).toEqual([expect.stringContaining('no-such-judge is not installed')]);
  expect(said).toHaveBeenCalledWith(expect.stringContaining('SKIPPED'));
});

test('a judge that is there changes nothing', () => {
  const { context, reasons } = recordingContext();
  requireTool(context, 'sh');
  expect(reasons).toEqual([]);
});

test('what needs root is treated in the same way', () => {
  vi.stubEnv('CI', 'true');
  const { context, reasons } = recordingContext();
  const attempt = () => requireRoot(context);
  if (process.geteuid?.() === 0) expect(attempt).not.toThrow();
  else expect(attempt).toThrow('this needs root');
  expect(reasons).toEqual([]);
});
