/** A source file of the house: its path below src/, and its text. */
export interface SourceFile {
  /** With `/`, such as `plan/plan-raw.ts`. */
  readonly path: string;
  readonly text: string;
}

/** From the top floor down (design, "House"). A room is a folder, or a file that lies beside the folders. */
export const FLOORS: ReadonlyArray<readonly string[]> = [
  ['index.ts'],
  ['cli'],
  ['server', 'kit', 'upload'],
  ['pool', 'xenapi'],
  ['host'],
  ['build', 'inspect'],
  ['io'],
  ['plan', 'signature'],
  ['ext', 'vhd'],
  ['tools'],
  ['bytes.ts', 'findings.ts', 'similar.ts', 'strict-xml.ts', 'struct.ts', 'units.ts', 'trace.ts'],
  ['errors.ts', 'finding-codes.ts'],
];

const MAX_LINES = 300;
/** How a file that is longer begins: with the reason. */
const REASON_AT_TOP = /^(?:\/\*[\s\S]*?\*\/|(?:\/\/.*\n)+)/;

/** What knows files, streams, processes or the network has no place in `plan`. */
const MODULES_FOR_PLAN = new Set(['node:util', 'node:assert']);
const CLOCK = /\b(?:Date|performance|hrtime|setTimeout|setInterval|setImmediate)\b/;

function withoutComments(text: string): string {
  // Strings are kept: a URL in one has two slashes, too.
  return text.replaceAll(
    /('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|\/\/.*/g,
    '$1',
  );
}

/** Every module that a file names: in imports, re-exports, dynamic imports and types. */
export function importsOf(text: string): string[] {
  const clauses = withoutComments(text).matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g);
  return [...clauses].map((match) => match[1] ?? '');
}

function roomOf(path: string): string {
  return path.split('/')[0] ?? path;
}

function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room));
}

/** The path below src/ that a relative import leads to. */
function resolveImport(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/').replace(/\.js$/, '.ts');
}

function importFaults({ path, text }: SourceFile): string[] {
  const room = roomOf(path);
  return importsOf(text).flatMap((specifier) => {
    if (!specifier.startsWith('.')) return moduleFaults(room, specifier);
    const target = roomOf(resolveImport(path, specifier));
    if (target === room) return [];
    if (floorOf(target) === -1) return [`imports from "${target}", which is no room of the house`];
    return floorOf(target) > floorOf(room) ? [] : [`imports upwards or sideways, from ${target}`];
  });
}

function moduleFaults(room: string, specifier: string): string[] {
  const runsPrograms = ['execa', 'node:child_process', 'child_process'].includes(specifier);
  if (runsPrograms && room !== 'tools') return [`imports ${specifier}, which only tools may`];
  if (room === 'plan' && !MODULES_FOR_PLAN.has(specifier)) return [`imports ${specifier}: plan is pure`];
  return [];
}

function textFaults({ path, text }: SourceFile): string[] {
  const room = roomOf(path);
  const code = withoutComments(text);
  const faults: string[] = [];
  if (room === 'plan' && CLOCK.test(code)) faults.push('looks at a clock: plan is pure');
  if (room !== 'cli' && /\bprocess\s*\.\s*(?:argv|env)\b/.test(code)) {
    faults.push('reads argv or the environment, which only cli may');
  }
  if (room !== 'cli' && /\bprocess\s*\.\s*exit(?:Code)?\b/.test(code)) {
    faults.push('decides an exit code, which only cli may');
  }
  if (/\bexport\s+default\b|\bas\s+default\b/.test(code)) faults.push('has a default export');
  return [...faults, ...lengthFaults(text)];
}

function lengthFaults(text: string): string[] {
  const isLong = text.split('\n').length - 1 > MAX_LINES && !REASON_AT_TOP.test(text);
  return isLong ? [`has more than ${MAX_LINES} lines and no reason at its top`] : [];
}

/** What breaks the one rule that files outside of src/ keep, too: how long they may be. One line each: `path: fault`. */
export function tooLong(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => lengthFaults(text).map((fault) => `${path}: ${fault}`));
}

/** Everything that breaks a rule of the house, one line each: `path: fault`. */
export function houseFaults(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const lost = floorOf(roomOf(file.path)) === -1 ? ['is in no room of the house'] : [];
    const faults = [...lost, ...importFaults(file), ...textFaults(file)];
    return faults.map((fault) => `${file.path}: ${fault}`);
  });
}
