import { LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseDocument, visit } from 'yaml';
import type { Document, Node, YAMLError } from 'yaml';
import { PatchVdiError } from '../errors.js';
import { printable } from '../signature/printable.js';
import { MIB, describeBytes } from '../units.js';
import { yamlBoundsFault } from './yaml-bounds.js';

const MAX_BYTES = MIB;
/** Anchors repeat a list of names here and there; a bomb needs many. */
const MAX_ALIASES = 64;

/** Keys and list positions, from the top. */
export type YamlPath = readonly (string | number)[];

/** A parsed text whose every value has a place. */
export interface YamlText {
  /** Plain objects, arrays, strings, numbers, booleans and null. */
  readonly value: unknown;
  /** An error about what stands at `path`, or about the key itself. */
  complain(path: YamlPath, complaint: Complaint): PatchVdiError;
  /** UTF-16 units from the start: to find out which of two faults comes first. */
  offsetOf(path: YamlPath, at: 'key' | 'value'): number;
}

export interface Complaint {
  readonly message: string;
  readonly found?: string | undefined;
  readonly expected?: string | undefined;
  readonly hint?: string | undefined;
  readonly at?: 'key' | 'value' | undefined;
}

interface Place {
  readonly fileName: string;
  readonly lines: LineCounter;
}

function complaintAt({ fileName, lines }: Place, offset: number, complaint: Complaint): PatchVdiError {
  const { message, found, expected, hint } = complaint;
  const { line, col } = lines.linePos(offset);
  return new PatchVdiError('usage', message, {
    context: {
      operation: 'read the configuration',
      path: `${fileName}:${Math.max(1, line)}:${Math.max(1, col)}`,
      ...(found === undefined ? {} : { found }),
      ...(expected === undefined ? {} : { expected }),
    },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The parser's words without what it quotes: that may be a password. */
function parserWords({ message }: YAMLError): string {
  return printable(message.split('\n')[0]?.replaceAll(/"[^"]{4,}"?/g, '"…"') ?? '', 160);
}

function refuseParserErrors(document: Document, place: Place): void {
  // What is only a warning to the parser (a tag that nobody knows) is a mistake in a configuration.
  const first = [...document.errors, ...document.warnings].toSorted((a, b) => a.pos[0] - b.pos[0])[0];
  if (first === undefined) return;
  throw complaintAt(place, first.pos[0], {
    message: 'the configuration is not YAML',
    found: parserWords(first),
  });
}

function startOf(node: unknown): number {
  return (node as Node | null | undefined)?.range?.[0] ?? 0;
}

type Refuse = (node: unknown, message: string, found: string, expected: string) => PatchVdiError;

/** Everything that YAML has and a configuration does not need; and two keys of the same name, in linear time. */
function refuseOddities(document: Document, place: Place): void {
  const refuse: Refuse = (node, message, found, expected) =>
    complaintAt(place, startOf(node), { message, found, expected });
  if (document.directives?.yaml.explicit === true && document.directives.yaml.version !== '1.2') {
    throw refuse(
      undefined,
      'the configuration is of another YAML',
      '%YAML 1.1',
      'YAML 1.2, without a directive',
    );
  }
  let aliases = 0;
  visit(document, (_key, node) => {
    if (isAlias(node)) {
      aliases += 1;
      if (aliases > MAX_ALIASES) {
        throw refuse(node, 'the configuration repeats too much', 'aliases', `at most ${MAX_ALIASES} aliases`);
      }
      if (node.resolve(document) !== undefined) return;
      throw refuse(node, 'an alias has no anchor', `*${printable(node.source, 64)}`, 'an anchor before it');
    }
    if (isNode(node) && node.tag !== undefined) {
      throw refuse(
        node,
        'the configuration has a tag',
        printable(node.tag.replace('tag:yaml.org,2002:', '!!'), 64),
        'values without tags',
      );
    }
    if (isMap(node))
      refuseKeys(
        node.items.map(({ key }) => key),
        refuse,
      );
  });
}

function refuseKeys(keys: readonly unknown[], refuse: Refuse): void {
  const names = new Set<string>();
  for (const key of keys) {
    if (!isScalar(key) || typeof key.value !== 'string') {
      throw refuse(key, 'a key of the configuration is not a name', 'another value', 'a name');
    }
    if (names.has(key.value)) {
      const name = `"${printable(key.value, 64)}"`;
      throw refuse(key, 'a key of the configuration stands there twice', name, 'each key once');
    }
    names.add(key.value);
  }
}

/** The node at a path as far as there is one, and its key where it has one. */
function nodesAt(document: Document, path: YamlPath): { key: unknown; value: unknown } {
  let key: unknown;
  let value: unknown = document.contents;
  for (const step of path) {
    if (isAlias(value)) value = value.resolve(document);
    const pair = isMap(value)
      ? value.items.find((item) => isScalar(item.key) && item.key.value === step)
      : undefined;
    const next: unknown = isSeq(value) && typeof step === 'number' ? value.items[step] : pair?.value;
    if (pair === undefined && next === undefined) break;
    key = pair?.key ?? next;
    value = next ?? pair?.key;
  }
  return { key: key ?? value, value };
}

/**
 * Parses a configuration: YAML 1.2, one document, no tags, no merge keys, few aliases, no key twice, at most 1 MiB.
 *
 * @param fileName for messages
 * @throws PatchVdiError `usage` whose path is `FILE:LINE:COLUMN`
 */
export function parseYamlText(text: string, fileName: string): YamlText {
  const lines = new LineCounter();
  const place = { fileName, lines };
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES) {
    throw complaintAt(place, 0, {
      message: 'the configuration is too large',
      found: describeBytes(bytes),
      expected: `at most ${describeBytes(MAX_BYTES)}`,
    });
  }
  const fault = yamlBoundsFault(text);
  if (fault !== undefined) {
    for (const match of text.slice(0, fault.offset).matchAll(/^/gm)) lines.addNewLine(match.index);
    throw complaintAt(place, fault.offset, { message: 'the configuration is too complex', ...fault });
  }
  // Keys that stand there twice: the parser compares each with each.
  const options = { version: '1.2', uniqueKeys: false, prettyErrors: false, logLevel: 'error' } as const;
  const document: Document = parseDocument(text, { ...options, lineCounter: lines });
  refuseParserErrors(document, place);
  refuseOddities(document, place);
  const offsetOf = (path: YamlPath, at: 'key' | 'value'): number => startOf(nodesAt(document, path)[at]);
  return {
    value: plainValue(document, place),
    offsetOf,
    complain: (path, complaint) => complaintAt(place, offsetOf(path, complaint.at ?? 'value'), complaint),
  };
}

function plainValue(document: Document, place: Place): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown;
  } catch {
    const message = 'the configuration repeats too much';
    throw complaintAt(place, 0, { message, found: 'aliases of aliases', expected: `at most ${MAX_ALIASES}` });
  }
}
