import * as v from 'valibot';
import { printable } from '../signature/printable.js';
import { similarName } from '../similar.js';
import type { Complaint, YamlPath, YamlText } from './yaml-text.js';

/** Their values are never shown, whatever they are. */
const SECRET_KEY = /password|secret|hash|^key$/i;

/** Advice for keys that people will try. */
const ADVICE: Readonly<Record<string, string>> = {
  password:
    'no password stands in a configuration: put it into a file of its own that nobody else can read (mode 0600) and ' +
    'give password_file; or give password_hash',
};

type Issue = v.BaseIssue<unknown>;

function pathOf(issue: Issue): YamlPath {
  return (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
}

/** `storage_repositories[0].quota` */
function dotted(path: YamlPath): string {
  const steps = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${printable(step, 64)}`));
  return steps.join('').replace(/^\./, '');
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a group of keys';
  if (typeof value === 'string') return `"${printable(value, 64)}"`;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'another value';
}

function foundText(path: YamlPath, value: unknown): string {
  const isSecret = path.some((step) => typeof step === 'string' && SECRET_KEY.test(step));
  const isText = typeof value === 'string' || typeof value === 'number';
  return isSecret && isText ? 'something else' : kindOf(value);
}

/** The keys that the schema knows at a path. */
function knownKeys(schema: unknown, path: YamlPath, value: unknown): string[] {
  let at = schema as { [name: string]: unknown } | undefined;
  let input = value;
  const steps = [...path];
  for (;;) {
    if (at === undefined) return [];
    const { type, entries, item, wrapped, getter, pipe } = at;
    if (type === 'lazy' && typeof getter === 'function') at = getter(input) as typeof at;
    else if (type === 'optional' || type === 'nullish') at = wrapped as typeof at;
    else if (type === 'custom') at = (pipe as (typeof at)[]).at(-1);
    else {
      const step = steps.shift();
      if (step === undefined) return typeof entries === 'object' ? Object.keys(entries ?? {}) : [];
      const children = (type === 'array' ? undefined : entries) as Record<string, unknown> | undefined;
      at = (type === 'array' ? item : children?.[step]) as typeof at;
      input = (input as Record<string | number, unknown> | null | undefined)?.[step];
    }
  }
}

function unknownKey(path: YamlPath, known: readonly string[]): Complaint {
  const name = String(path.at(-1));
  const nearest = similarName(name, known);
  const advice = ADVICE[name] ?? (nearest === undefined ? undefined : `did you mean ${nearest}?`);
  return {
    message: 'the configuration has a key that nobody knows',
    found: dotted(path),
    expected: known.length > 0 ? `one of ${known.join(', ')}` : 'no such key',
    hint: advice,
    at: 'key',
  };
}

function missingKey(path: YamlPath): Complaint {
  return {
    message: 'the configuration lacks a key',
    found: `no ${dotted(path)}`,
    expected: `${dotted(path)}: …`,
  };
}

function wrong(path: YamlPath): string {
  return path.length === 0 ? 'the configuration is no group of keys' : `${dotted(path)} is not right`;
}

/** Where it is complained of, and what. */
function complaintOf(
  issue: Issue,
  schema: unknown,
  value: unknown,
): { path: YamlPath; complaint: Complaint } {
  const path = pathOf(issue);
  const isKey = issue.type === 'strict_object' && issue.path?.at(-1)?.origin === 'key';
  if (isKey && issue.expected === 'never') {
    return { path, complaint: unknownKey(path, knownKeys(schema, path.slice(0, -1), value)) };
  }
  // There is no such place: it is that of what lacks it.
  if (isKey) return { path: path.slice(0, -1), complaint: missingKey(path) };
  return {
    path,
    complaint: { message: wrong(path), found: foundText(path, issue.input), expected: issue.message },
  };
}

/**
 * What the schema makes of a text.
 *
 * @throws PatchVdiError `usage` for the fault that comes first in the text
 */
export function validated<const Schema extends v.GenericSchema>(
  schema: Schema,
  yaml: YamlText,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, yaml.value, { abortPipeEarly: true });
  if (result.success) return result.output;
  const placed = result.issues.map((issue) => {
    const { path, complaint } = complaintOf(issue, schema, yaml.value);
    return { path, complaint, offset: yaml.offsetOf(path, complaint.at ?? 'value') };
  });
  const first = placed.reduce((a, b) => (b.offset < a.offset ? b : a));
  const others = new Set(placed.map(({ offset }) => offset)).size - 1;
  const more = others > 0 ? `${others} more of it is not right` : undefined;
  throw yaml.complain(first.path, { ...first.complaint, hint: first.complaint.hint ?? more });
}
